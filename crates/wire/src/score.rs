//! What is said of services, groups and switches, in the words of S-CORE's Launch Manager: its process states, its states of a
//! process group (today: of the machine), its error codes (`ExecErrc`).
//!
//! They are views and nothing else: what is so is said by verger's own words, of which there are more, and some of S-CORE's can
//! never be seen. `Aborting` and `Cancelled` are states there, in which what was begun is seen to its end before the next transition
//! may begin; here the next begins at once, so the group is `InTransition` again, and that something was aborted or cancelled is
//! in the answer to whoever asked for it ([`Code::Cancelled`], [`Code::Failed`]).

use core::fmt;

use verger_engine::life::{GroupPhase, PhaseKind};

use crate::message::{Error, Group, Obstacle, Service, Switched, WrongState};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$own:meta])* $variant:ident = $number:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$own])* $variant = $number,)*
        }

        impl $name {
            /// As S-CORE calls it.
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }

            /// Its number there.
            pub fn number(self) -> u8 {
                self as u8
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// The state of a process.
    ProcessState {
        /// It was never started.
        Idle = 0, "Idle";
        /// It was started, or is to be started again after a while, and is not ready.
        Starting = 1, "Starting";
        /// It is ready.
        Running = 2, "Running";
        /// It is being ended.
        Terminating = 3, "Terminating";
        /// It has ended.
        Terminated = 4, "Terminated";
        /// It has failed.
        Failed = 5, "Failed";
    }
}

words! {
    /// The state of a group; of the two that can never be seen here, the module says why.
    GroupState {
        /// It is where it should be, and all of it is there.
        Success = 0, "Success";
        /// It is on its way.
        InTransition = 1, "InTransition";
        /// A member has failed on the way, and what was begun is seen to its end.
        Aborting = 2, "Aborting";
        /// Another request came on the way, and what was begun is seen to its end.
        Cancelled = 3, "Cancelled";
        /// It is in no target: one has failed, and there is no way on, or not yet; or one has lost a member.
        Undefined = 4, "Undefined";
    }
}

words! {
    /// What S-CORE's `ExecErrc` calls the answer to a request for a target. 0 is none of its codes: no error.
    Code {
        /// It is there.
        Success = 0, "kSuccess";
        /// Anything that has no code of its own.
        GeneralError = 1, "kGeneralError";
        /// There is no such group or target.
        InvalidArguments = 2, "kInvalidArguments";
        /// The daemon was not reached, or has not answered.
        CommunicationError = 3, "kCommunicationError";
        /// Another request came before it was there.
        Cancelled = 5, "kCancelled";
        /// It has failed.
        Failed = 6, "kFailed";
        /// It has failed because a process ended before it was ready.
        FailedUnexpectedTerminationOnEnter = 8, "kFailedUnexpectedTerminationOnEnter";
        /// It is there already.
        AlreadyInState = 10, "kAlreadyInState";
        /// It is on its way there already.
        InTransitionToSameState = 11, "kInTransitionToSameState";
    }
}

/// The state of a service's process.
pub fn process_state(service: &Service) -> ProcessState {
    match service.phase {
        // A start that failed has a number and was no process: only a run that has ended tells that there was one.
        PhaseKind::Down | PhaseKind::Waiting | PhaseKind::Blocked if service.last_exit.is_none() => ProcessState::Idle,
        PhaseKind::Down | PhaseKind::Waiting | PhaseKind::Blocked | PhaseKind::Done => ProcessState::Terminated,
        PhaseKind::Starting | PhaseKind::Resting => ProcessState::Starting,
        PhaseKind::Running | PhaseKind::Held => ProcessState::Running,
        PhaseKind::Stopping | PhaseKind::Stuck => ProcessState::Terminating,
        PhaseKind::Failed => ProcessState::Failed,
    }
}

/// The state of a group.
pub fn group_state(group: &Group) -> GroupState {
    match group.phase {
        // There a process that ends unasked takes its group out of `Success` at once; nothing stops one and leaves the group in it.
        GroupPhase::Complete if !group.lacks.is_empty() => GroupState::Undefined,
        GroupPhase::Complete => GroupState::Success,
        GroupPhase::Stopping | GroupPhase::Starting => GroupState::InTransition,
        GroupPhase::Failed | GroupPhase::Resting => GroupState::Undefined,
    }
}

/// What came of a request for a target.
pub fn code(answer: &Result<Switched, Error>) -> Code {
    match answer {
        Ok(Switched { already: true, .. }) => Code::AlreadyInState,
        // Somebody has stopped one of it on the way.
        Ok(Switched { already: false, lacks, .. }) if !lacks.is_empty() => Code::Failed,
        Ok(Switched { already: false, .. }) => Code::Success,
        Err(error) => code_of(error),
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::NotFound { .. } | Error::Invalid { .. } => Code::InvalidArguments,
        Error::Cancelled { .. } => Code::Cancelled,
        Error::Timeout { .. } => Code::Failed,
        Error::WrongState(wrong) => code_of_state(wrong),
        // It speaks another language than we do.
        Error::InterfaceNotFound { .. }
        | Error::MethodNotFound { .. }
        | Error::MethodNotImplemented { .. }
        | Error::InvalidParameter { .. } => Code::CommunicationError,
        Error::Refused { .. }
        | Error::Busy
        | Error::Stale
        | Error::Trial { .. }
        | Error::Limit { .. }
        | Error::Internal { .. } => Code::GeneralError,
    }
}

fn code_of_state(wrong: &WrongState) -> Code {
    match wrong.cause {
        Obstacle::Switching => Code::InTransitionToSameState,
        Obstacle::TargetFailed if wrong.ended_early == Some(true) => Code::FailedUnexpectedTerminationOnEnter,
        Obstacle::Failed
        | Obstacle::Blocked
        | Obstacle::Finished
        | Obstacle::Stuck
        | Obstacle::NotRunning
        | Obstacle::Running
        | Obstacle::NoCondition
        | Obstacle::ShuttingDown
        | Obstacle::TargetFailed
        | Obstacle::NeverStopped => Code::Failed,
    }
}

#[cfg(test)]
mod tests {
    use verger_engine::life::Want;
    use verger_engine::runs::Containment;

    use super::*;
    use crate::message::{
        CauseKind, DECIDED_BY_LIFECYCLE, Exit, Failure, FailureKind, LastOrder, OrderKind, Origin, OriginKind, Target,
    };
    use verger_engine::image::Right;

    fn service(phase: PhaseKind, run: u64) -> Service {
        Service {
            name: "a".to_owned(),
            description: String::new(),
            want: Want::Up,
            phase,
            ready: false,
            asked: true,
            run,
            start_us: None,
            pid: None,
            containment: Containment::None,
            awaits_debugger: false,
            since_us: 0,
            until_us: None,
            next_signal: None,
            waits_for: None,
            in_the_way: None,
            restarts: 0,
            failures: 0,
            last_exit: None,
            failure: None,
            last_order: LastOrder { kind: OrderKind::Stop, step: None, errno: None },
            autostart: true,
            essential: false,
            escalates: false,
            late: false,
            ignored: false,
            set: None,
            decided_by: DECIDED_BY_LIFECYCLE.to_owned(),
            brain: None,
        }
    }

    #[test]
    fn each_phase_is_a_process_state() {
        let rows = [
            (PhaseKind::Down, "Idle 0", "Terminated 4"),
            (PhaseKind::Waiting, "Idle 0", "Terminated 4"),
            (PhaseKind::Blocked, "Idle 0", "Terminated 4"),
            (PhaseKind::Starting, "Starting 1", "Starting 1"),
            (PhaseKind::Running, "Running 2", "Running 2"),
            (PhaseKind::Held, "Running 2", "Running 2"),
            (PhaseKind::Stopping, "Terminating 3", "Terminating 3"),
            (PhaseKind::Stuck, "Terminating 3", "Terminating 3"),
            (PhaseKind::Resting, "Starting 1", "Starting 1"),
            (PhaseKind::Done, "Terminated 4", "Terminated 4"),
            (PhaseKind::Failed, "Failed 5", "Failed 5"),
        ];
        assert_eq!(rows.map(|(phase, ..)| phase).as_slice(), PhaseKind::ALL, "all of them, in their order");
        let said = |service: &Service| format!("{} {}", process_state(service), process_state(service).number());
        let exit = Exit { code: Some(0), signal: None, core_dumped: false, out_of_memory: false };
        for (phase, never, once) in rows {
            assert_eq!(said(&service(phase, 0)), never, "{phase:?}");
            assert_eq!(said(&service(phase, 3)), never, "{phase:?}: a start that failed is no run");
            assert_eq!(said(&Service { last_exit: Some(exit.clone()), ..service(phase, 3) }), once, "{phase:?}");
        }
    }

    #[test]
    fn each_phase_of_a_group_is_a_group_state() {
        let rows = [
            (GroupPhase::Complete, GroupState::Success),
            (GroupPhase::Stopping, GroupState::InTransition),
            (GroupPhase::Starting, GroupState::InTransition),
            (GroupPhase::Failed, GroupState::Undefined),
            (GroupPhase::Resting, GroupState::Undefined),
        ];
        assert_eq!(rows.map(|(phase, _)| phase).as_slice(), GroupPhase::ALL, "all of them, in their order");
        for (phase, state) in rows {
            let group = Group {
                name: String::new(),
                target: "Off".to_owned(),
                phase,
                since_us: 0,
                until_us: None,
                waits_for: None,
                lacks: Vec::new(),
                failures: 0,
                next: None,
                initial: "Off".to_owned(),
                fallback: None,
                targets: Vec::<Target>::new(),
                root: None,
            };
            assert_eq!(group_state(&group), state, "{phase:?}");
            if phase == GroupPhase::Complete {
                let group = Group { lacks: vec!["a".to_owned()], ..group };
                assert_eq!(group_state(&group), GroupState::Undefined, "not all of it is there");
            }
        }
    }

    #[test]
    fn each_answer_is_a_code() {
        let target = || "drive".to_owned();
        let went = |already| Ok(Switched { target: target(), already, lacks: Vec::new() });
        let without = |already| Ok(Switched { target: target(), already, lacks: vec!["a".to_owned()] });
        let state = |cause| Err(Error::WrongState(WrongState::plain("a", PhaseKind::Failed, cause)));
        let failed = |kind, ended_early| {
            let failure = Some(Failure { kind, restarts: None, step: None, errno: None, fault: None });
            let wrong = WrongState::plain("a", PhaseKind::Failed, Obstacle::TargetFailed);
            Err(Error::WrongState(WrongState { failure, ended_early, ..wrong }))
        };
        let text = String::new;
        let by = Origin::plain(OriginKind::Switch);
        let rows = [
            (went(false), 0, "kSuccess"),
            (went(true), 10, "kAlreadyInState"),
            (without(false), 6, "kFailed"),
            (without(true), 10, "kAlreadyInState"),
            (state(Obstacle::Switching), 11, "kInTransitionToSameState"),
            (Err(Error::Cancelled { name: text(), by: Box::new(by) }), 5, "kCancelled"),
            (Err(Error::NotFound { name: text() }), 2, "kInvalidArguments"),
            (Err(Error::Invalid { field: text(), expected: text() }), 2, "kInvalidArguments"),
            (failed(FailureKind::Exited, Some(true)), 8, "kFailedUnexpectedTerminationOnEnter"),
            (failed(FailureKind::Exited, Some(false)), 6, "kFailed"),
            (failed(FailureKind::NotReady, None), 6, "kFailed"),
            (failed(FailureKind::Start, None), 6, "kFailed"),
            (failed(FailureKind::GaveUp, None), 6, "kFailed"),
            (failed(FailureKind::Internal, None), 6, "kFailed"),
            (state(Obstacle::TargetFailed), 6, "kFailed"),
            (state(Obstacle::ShuttingDown), 6, "kFailed"),
            (
                Err(Error::Timeout {
                    name: text(),
                    phase: PhaseKind::Starting,
                    waits_for: None,
                    cause: CauseKind::NotReadyInTime,
                }),
                6,
                "kFailed",
            ),
            (Err(Error::Refused { right: Right::Operate }), 1, "kGeneralError"),
            (Err(Error::Busy), 1, "kGeneralError"),
            (Err(Error::Trial { on_trial: true, last: None }), 1, "kGeneralError"),
            (Err(Error::Limit { which: text() }), 1, "kGeneralError"),
            (Err(Error::Internal { text: text() }), 1, "kGeneralError"),
            (Err(Error::MethodNotFound { method: text() }), 3, "kCommunicationError"),
        ];
        for (answer, number, word) in rows {
            let code = code(&answer);
            assert_eq!((code.number(), code.word()), (number, word), "{answer:?}");
        }
    }
}
