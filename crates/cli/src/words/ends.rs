//! How runs end, and how starts fail.

use verger_engine::runs::Step;
use verger_wire::message::{Exit, Failure, FailureKind};

/// `exited with status 1`, `was ended by SIGKILL (out of memory)`.
pub(crate) fn exit(exit: &Exit) -> String {
    exit.fact().to_string()
}

/// The kernel's words for an error number: `No such file or directory`.
pub(crate) fn errno(number: u16) -> String {
    let words = std::io::Error::from_raw_os_error(i32::from(number)).to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

/// `could not be started: step exec: No such file or directory`.
pub(crate) fn start_failure(step: Option<Step>, number: Option<u16>) -> String {
    let Some(step) = step else { return "could not be started".to_owned() };
    match number.unwrap_or(0) {
        0 => format!("could not be started: killed at step {step}, before its program ran"),
        number => format!("could not be started: step {step}: {}", errno(number)),
    }
}

const EPERM: u16 = 1;
const ENOENT: u16 = 2;
const ENOEXEC: u16 = 8;
const EAGAIN: u16 = 11;
const EACCES: u16 = 13;
const ENOTDIR: u16 = 20;
const EINVAL: u16 = 22;
const ENODATA: u16 = 61;
const EILSEQ: u16 = 84;
const EOPNOTSUPP: u16 = 95;
const EADDRINUSE: u16 = 98;
const EADDRNOTAVAIL: u16 = 99;

/// What to do about a start that failed, as far as that can be told from where and how it failed.
pub(crate) fn start_hint(step: Step, number: u16) -> Option<&'static str> {
    if step.limit().is_some() {
        return start_hint(Step::ResourceLimits, number);
    }
    Some(match (step, number) {
        (Step::Program, ENOENT) => "give the program's whole path in `command`, or put its folder on `PATH`",
        (Step::Exec, ENOENT | ENOTDIR) => {
            "look at the path in `command`; of a script, at the interpreter after `#!` too"
        }
        (Step::Program | Step::Exec, EACCES) => {
            "make the program executable (`chmod +x`) and its folders open to the service's user"
        }
        (Step::Exec, ENOEXEC) => "it is no program of this machine; a script begins with `#!` and its interpreter",
        (Step::User, ENOENT) => "make the user, or change `user` in the plan",
        (Step::Group | Step::SetGroups, ENOENT) => "make the group, or change `group` and `groups` in the plan",
        (Step::SetUid | Step::SetGid | Step::SetGroups, EPERM) => {
            "only root can run services as others: start the daemon as root, or leave out `user`, `group` and `groups`"
        }
        (Step::WorkingDirectory, ENOENT | ENOTDIR) => "make the folder, or change `working_directory` in the plan",
        (Step::WorkingDirectory, EACCES) => "open the folder to the service's user, or change `working_directory`",
        (Step::Open, EADDRINUSE) => {
            "another program listens there already (`ss -lptux` tells which): end it, or change `listen` of the handle"
        }
        (Step::Open, EADDRNOTAVAIL) => "this machine has no such address now: look at `ip address`, or change `listen`",
        (Step::Open, EACCES) => {
            "look at the rights of what its descriptors are connected to; a port below 1024 takes root, or CAP_NET_BIND_SERVICE"
        }
        (Step::Open, _) => "look at the files that its descriptors are connected to (`stdout`, `stderr`, …)",
        (Step::Fork, EAGAIN) => {
            "a limit on processes is reached; it is tried again by itself (`verger doctor` shows limits)"
        }
        (Step::Containment | Step::Cgroup | Step::Shim | Step::Namespace, _) => {
            "`verger doctor` tells which containments are to be had here, and why not the others"
        }
        (Step::Scheduling | Step::Nice, EPERM | EACCES) => {
            "that takes CAP_SYS_NICE, or RLIMIT_RTPRIO and RLIMIT_NICE: start the daemon as root, or leave the key out"
        }
        (Step::OomScore, EACCES) => "only root can lower it: start the daemon as root, or leave out `oom_score_adjust`",
        (Step::ResourceLimits, EPERM) => {
            "a hard limit above the daemon's own takes CAP_SYS_RESOURCE: lower it in `limits`, or give the daemon that"
        }
        (Step::Arguments, ENODATA) => {
            "the service that writes to that handle has written nothing: see to it, and have it run again"
        }
        (Step::Arguments, EILSEQ) => "an argument holds no NUL byte: the service that writes them writes lines of text",
        (Step::SecurityModule, ENOENT) => {
            "load that profile first (`apparmor_parser`), or change `apparmor_profile` in the plan"
        }
        (Step::SecurityModule, EINVAL | EOPNOTSUPP) => {
            "the kernel runs no such security module, or knows no such context: see `apparmor_profile` and `selinux_context`"
        }
        (Step::Hold, _) => {
            "allow ptrace(2), which a container or `kernel.yama.ptrace_scope` forbids here, or leave out `hold`"
        }
        (Step::Capabilities, EPERM) => "the daemon has not got these capabilities itself, so it cannot give them",
        (
            Step::User
            | Step::Group
            | Step::Program
            | Step::Arguments
            | Step::Fork
            | Step::Signals
            | Step::Session
            | Step::Descriptors
            | Step::Scheduling
            | Step::Affinity
            | Step::Nice
            | Step::OomScore
            | Step::ResourceLimits
            | verger_engine::limit_steps!()
            | Step::Personality
            | Step::Umask
            | Step::SetGroups
            | Step::SetGid
            | Step::SetUid
            | Step::WorkingDirectory
            | Step::Capabilities
            | Step::NoNewPrivileges
            | Step::SecurityModule
            | Step::DeathSignal
            | Step::SignalMask
            | Step::Exec,
            _,
        ) => return None,
    })
}

/// Why there will be no run by itself: `gave up after 5 restarts: exited with status 1`.
pub(super) fn failure(failure: &Failure, last: Option<String>) -> String {
    let after = |words: String| match &last {
        Some(last) => format!("{words}: {last}"),
        None => words,
    };
    match failure.kind {
        FailureKind::GaveUp => after(match failure.restarts.unwrap_or(0) {
            1 => "gave up after 1 restart".to_owned(),
            restarts => format!("gave up after {restarts} restarts"),
        }),
        FailureKind::Start => start_failure(failure.step, failure.errno),
        FailureKind::Exited => last.unwrap_or_else(|| "ended badly".to_owned()),
        FailureKind::NotReady => NOT_READY.to_owned(),
        FailureKind::Internal => match failure.fault {
            Some(fault) => format!("fault of the daemon ({fault})"),
            None => "fault of the daemon".to_owned(),
        },
    }
}

/// What is said of one that was not ready in time.
pub(super) const NOT_READY: &str = "was not ready in time";

/// The same of a condition that somebody sets, or who waits for it: there is no program that could be ready.
pub(super) const NOT_COME: &str = "did not come true in time";

#[cfg(test)]
mod tests {
    use super::*;
    use verger_engine::life::FaultKind;

    #[test]
    fn failures_are_told_with_their_reasons() {
        let plain = |kind| Failure { kind, restarts: None, step: None, errno: None, fault: None };
        let code = |code| Exit { code: Some(code), signal: None, core_dumped: false, out_of_memory: false };
        let gave_up = |restarts| Failure { restarts: Some(restarts), ..plain(FailureKind::GaveUp) };
        let start = |step, errno| Failure { step: Some(step), errno: Some(errno), ..plain(FailureKind::Start) };
        let internal = Failure { fault: Some(FaultKind::Injected), ..plain(FailureKind::Internal) };
        for (is, last, words) in [
            (gave_up(5), Some(code(1)), "gave up after 5 restarts: exited with status 1"),
            (gave_up(1), None, "gave up after 1 restart"),
            (start(Step::Exec, 2), None, "could not be started: step exec: No such file or directory"),
            (start(Step::Fork, 0), None, "could not be started: killed at step fork, before its program ran"),
            (start(Step::LimitNofile, 1), None, "could not be started: step limit-nofile: Operation not permitted"),
            (plain(FailureKind::Start), None, "could not be started"),
            (plain(FailureKind::Exited), Some(code(3)), "exited with status 3"),
            (plain(FailureKind::Exited), None, "ended badly"),
            (plain(FailureKind::NotReady), Some(code(0)), "was not ready in time"),
            (internal, None, "fault of the daemon (injected)"),
        ] {
            assert_eq!(failure(&is, last.as_ref().map(exit)), words);
        }
    }

    #[test]
    fn hints_are_no_sentences_with_a_full_stop() {
        for step in Step::ALL {
            for number in 0..140 {
                let hint = start_hint(*step, number).unwrap_or("none");
                assert!(!hint.ends_with('.') && hint.len() < 120, "{hint}");
            }
        }
        assert!(start_hint(Step::Exec, EACCES).is_some_and(|hint| hint.contains("chmod +x")));
        assert_eq!(start_hint(Step::Umask, EPERM), None);
        // Root may be without that capability.
        let hint = start_hint(Step::ResourceLimits, EPERM).unwrap();
        assert!(hint.contains("CAP_SYS_RESOURCE") && !hint.contains("root"), "{hint}");
        assert_eq!(start_hint(Step::LimitNofile, EPERM), Some(hint));
        assert!(start_hint(Step::SetGroups, EPERM).is_some_and(|hint| hint.contains("`groups`")));
    }
}
