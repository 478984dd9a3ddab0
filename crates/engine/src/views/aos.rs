//! The AOS starter's view of a service: five states and a last stop reason.
//!
//! | verger's phase | AOS state |
//! |---|---|
//! | `down`, `done`, `failed` | `STOPPED` |
//! | `waiting`, `blocked`, `resting` | `WAITING` |
//! | `starting` | `STARTING` |
//! | `running` | `RUNNING` |
//! | `held`, `stopping`, `stuck` | `STOPPING` |

use crate::code::coded_enum;
use crate::life::{LastOrder, PhaseKind};
use crate::runs::{Ended, Exit, Step};

coded_enum! {
    /// The states of an application, with the numbers of `aos.starter.State`.
    pub enum State {
        /// Not running, an automatic start is pending.
        Waiting = 0, "WAITING";
        /// Begun, not ready yet.
        Starting = 1, "STARTING";
        /// Ready.
        Running = 2, "RUNNING";
        /// Being ended.
        Stopping = 3, "STOPPING";
        /// Not running, nothing pending.
        Stopped = 4, "STOPPED";
    }
}

coded_enum! {
    /// Why an application was last stopped or could not start, with the numbers of `aos.starter.LastStopReason`.
    pub enum LastStopReason {
        /// A stop was asked for; also before anything has happened.
        StopRequested = 0, "STOP_REQUESTED";
        /// A restart was asked for.
        RestartRequested = 1, "RESTART_REQUESTED";
        /// Everything is ending.
        Terminate = 2, "TERMINATE";
        /// No process could be made.
        ForkErr = 3, "FORK_ERR";
        /// The parent-death signal could not be set.
        SetPrctlErr = 4, "SET_PRCTL_ERR";
        /// The user could not be taken.
        SetUsrErr = 5, "SET_USR_ERR";
        /// The program could not be executed.
        ExecvErr = 6, "EXECV_ERR";
        /// The groups could not be taken.
        SetGrpErr = 7, "SET_GRP_ERR";
    }
}

/// The state of an application.
pub fn state(phase: PhaseKind) -> State {
    match phase {
        PhaseKind::Down | PhaseKind::Done | PhaseKind::Failed => State::Stopped,
        PhaseKind::Waiting | PhaseKind::Blocked | PhaseKind::Resting => State::Waiting,
        PhaseKind::Starting => State::Starting,
        PhaseKind::Running => State::Running,
        PhaseKind::Held | PhaseKind::Stopping | PhaseKind::Stuck => State::Stopping,
    }
}

/// The last stop reason of an application.
///
/// Steps that AOS does not have are shown under the one whose failure they would have been there.
pub fn last_stop_reason(order: LastOrder) -> LastStopReason {
    match order {
        LastOrder::Stop => LastStopReason::StopRequested,
        LastOrder::Restart => LastStopReason::RestartRequested,
        LastOrder::Shutdown => LastStopReason::Terminate,
        LastOrder::StartFailed(failure) => match failure.step {
            Step::Fork | Step::Containment | Step::Cgroup | Step::Shim | Step::Namespace => LastStopReason::ForkErr,
            Step::DeathSignal => LastStopReason::SetPrctlErr,
            Step::User | Step::SetUid => LastStopReason::SetUsrErr,
            Step::Group | Step::SetGroups | Step::SetGid => LastStopReason::SetGrpErr,
            Step::Program
            | Step::Arguments
            | Step::Hold
            | Step::Open
            | Step::Signals
            | Step::Session
            | Step::Descriptors
            | Step::Scheduling
            | Step::Affinity
            | Step::Nice
            | Step::OomScore
            | Step::ResourceLimits
            | crate::limit_steps!()
            | Step::Personality
            | Step::Umask
            | Step::WorkingDirectory
            | Step::Capabilities
            | Step::NoNewPrivileges
            | Step::SecurityModule
            | Step::SignalMask
            | Step::Exec => LastStopReason::ExecvErr,
        },
    }
}

/// The exit code as AOS gives it: the status, or the number of the signal. `None` before the first exit.
pub fn last_exit_code(last: Option<&Exit>) -> Option<u8> {
    match last?.ended {
        Ended::Exited(code) => Some(code),
        Ended::Signaled { signal, .. } => Some(signal),
        Ended::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    use super::*;
    use crate::desk::{Desk, service};
    use crate::image::{Ready, RestartPolicy, Service, StopStep};
    use crate::life::Verb;
    use crate::time::Span;

    /// An application as the AOS configuration describes it: ready when it has lived 1 s, restarted after 3 s, asked to end
    /// by SIGINT and given 1 s.
    fn application(autorestart: bool) -> Service {
        Service {
            ready: Ready::AliveFor(Span::from_secs(1)),
            restart: if autorestart { RestartPolicy::Always } else { RestartPolicy::Never },
            restart_delay: Span::from_secs(3),
            restart_delay_max: Span::from_secs(3),
            healthy_after: Span::ZERO,
            stop: vec![StopStep { signal: 2, wait: Span::from_secs(1) }],
            autostart: false,
            ..service("app")
        }
    }

    fn in_state(state: State, autorestart: bool) -> Desk {
        let mut desk = Desk::new(vec![application(autorestart)]);
        if state == State::Stopped {
            return desk;
        }
        desk.start("app").spawned("app");
        match state {
            State::Stopped | State::Starting => {}
            State::Running => _ = desk.pass(Span::from_secs(1)),
            State::Stopping => _ = desk.pass(Span::from_secs(1)).stop("app"),
            State::Waiting => _ = desk.exits("app", 1),
        }
        assert_eq!(super::state(desk.engine.status(0).unwrap().phase), state);
        desk
    }

    fn shown(desk: &Desk) -> String {
        let status = desk.engine.status(0).unwrap();
        format!("{} {}", super::state(status.phase), last_stop_reason(status.last_order))
    }

    /// Section 2.2 of the specification, state by event. Where verger differs (a fork that failed is retried), the row says so.
    #[test]
    fn the_whole_table_of_states_and_commands() {
        use State::*;
        let command = |state, verb: Verb| shown(in_state(state, true).ask(verb, "app"));
        let table = [
            (command(Stopped, Verb::Start), "STARTING STOP_REQUESTED"),
            (command(Stopped, Verb::Restart), "STARTING RESTART_REQUESTED"),
            (command(Stopped, Verb::Stop), "STOPPED STOP_REQUESTED"),
            (shown(in_state(Stopped, true).shutdown()), "STOPPED TERMINATE"),
            (command(Waiting, Verb::Start), "STARTING STOP_REQUESTED"),
            (command(Waiting, Verb::Restart), "STARTING RESTART_REQUESTED"),
            (command(Waiting, Verb::Stop), "STOPPED STOP_REQUESTED"),
            (shown(in_state(Waiting, true).shutdown()), "STOPPED TERMINATE"),
            (shown(in_state(Waiting, true).pass(Span::from_millis(2999))), "WAITING STOP_REQUESTED"),
            (shown(in_state(Waiting, true).pass(Span::from_millis(3000))), "STARTING STOP_REQUESTED"),
            // AOS: STOPPED, never tried again. verger tries again.
            (shown(in_state(Stopped, true).start("app").refused("app", Step::Fork, 11)), "WAITING FORK_ERR"),
            (command(Starting, Verb::Start), "STARTING STOP_REQUESTED"),
            (command(Starting, Verb::Stop), "STOPPING STOP_REQUESTED"),
            (shown(in_state(Starting, true).shutdown()), "STOPPING TERMINATE"),
            (command(Starting, Verb::Restart), "STOPPING RESTART_REQUESTED"),
            (shown(in_state(Starting, true).pass(Span::from_millis(999))), "STARTING STOP_REQUESTED"),
            (shown(in_state(Starting, true).pass(Span::from_millis(1000))), "RUNNING STOP_REQUESTED"),
            (shown(in_state(Starting, true).exits("app", 0)), "WAITING STOP_REQUESTED"),
            (shown(in_state(Starting, false).exits("app", 0)), "STOPPED STOP_REQUESTED"),
            (command(Running, Verb::Start), "RUNNING STOP_REQUESTED"),
            (command(Running, Verb::Stop), "STOPPING STOP_REQUESTED"),
            (shown(in_state(Running, true).shutdown()), "STOPPING TERMINATE"),
            (command(Running, Verb::Restart), "STOPPING RESTART_REQUESTED"),
            (shown(in_state(Running, true).exits("app", 7)), "WAITING STOP_REQUESTED"),
            (shown(in_state(Running, false).exits("app", 7)), "STOPPED STOP_REQUESTED"),
            (command(Stopping, Verb::Start), "STOPPING STOP_REQUESTED"),
            (shown(in_state(Stopping, true).start("app").exits("app", 0)), "STARTING STOP_REQUESTED"),
            (command(Stopping, Verb::Restart), "STOPPING RESTART_REQUESTED"),
            (shown(in_state(Stopping, true).restart("app").exits("app", 0)), "STARTING RESTART_REQUESTED"),
            (shown(in_state(Stopping, true).restart("app").stop("app").exits("app", 0)), "STOPPED STOP_REQUESTED"),
            (shown(in_state(Stopping, true).shutdown()), "STOPPING TERMINATE"),
            (shown(in_state(Stopping, true).pass(Span::from_secs(1))), "STOPPING STOP_REQUESTED"),
            (shown(in_state(Stopping, true).exits("app", 0)), "STOPPED STOP_REQUESTED"),
            (shown(in_state(Stopping, true).exits("app", 0).swept("app", None)), "STOPPED STOP_REQUESTED"),
        ];
        for (row, (is, should)) in table.iter().enumerate() {
            assert_eq!(is, should, "row {row}");
        }
    }

    #[test]
    fn sigint_first_then_sigkill_after_the_grace() {
        let mut desk = in_state(State::Running, true);
        desk.forget().stop("app").says("app: running -> stopping (asked)\ncensus app Asked\nstop app 2 Main");
        desk.pass(Span::from_millis(999)).says("");
        desk.pass(Span::from_millis(1)).says("changed app\ncensus app Kill\nkill app");
        // A stop while stopping does not begin the grace anew.
        let mut desk = in_state(State::Stopping, true);
        desk.pass(Span::from_millis(600)).stop("app").forget().pass(Span::from_millis(400));
        assert!(desk.said().contains("kill app"));
    }

    #[test]
    fn every_failing_step_has_its_reason() {
        let reason = |step| {
            let mut desk = Desk::new(vec![application(true)]);
            desk.start("app").refused("app", step, 2);
            last_stop_reason(desk.engine.status(0).unwrap().last_order)
        };
        assert_eq!(reason(Step::Fork), LastStopReason::ForkErr);
        assert_eq!(reason(Step::DeathSignal), LastStopReason::SetPrctlErr);
        assert_eq!(reason(Step::User), LastStopReason::SetUsrErr);
        assert_eq!(reason(Step::SetUid), LastStopReason::SetUsrErr);
        assert_eq!(reason(Step::SetGid), LastStopReason::SetGrpErr);
        assert_eq!(reason(Step::Exec), LastStopReason::ExecvErr);
        assert_eq!(reason(Step::Program), LastStopReason::ExecvErr);
    }

    #[test]
    fn an_exit_code_is_a_status_or_a_signal() {
        let mut desk = in_state(State::Running, true);
        assert_eq!(last_exit_code(desk.engine.status(0).unwrap().last_exit.as_ref()), None);
        desk.exits("app", 3);
        assert_eq!(last_exit_code(desk.engine.status(0).unwrap().last_exit.as_ref()), Some(3));
        desk.pass(Span::from_secs(3)).spawned("app").ends("app", Exit::signal(9)).swept("app", None);
        assert_eq!(last_exit_code(desk.engine.status(0).unwrap().last_exit.as_ref()), Some(9));
    }
}
