//! `verger switch`, `verger targets`: another set of services, and which there are.

use std::time::Duration;

use serde_json::{Value, json};
use verger_client::ClientError;
use verger_engine::life::{GroupPhase, PhaseKind};
use verger_engine::time::Span;
use verger_wire::message::{CauseKind, Error, Group, Order, Origin, OriginKind, Switched};
use verger_wire::score::{self, Code};
use verger_wire::view;

use super::orders::duration;
use super::why::absent;
use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;
use crate::waiting::Waiting;
use crate::words::{self, Clock};

/// Switch a group of services to another target, and wait until it is there
///
/// First what the new target does not have is stopped, dependents first; then what it has is started. What is in both is not
/// touched; who of it was stopped by somebody is started, also when that target is active already. Another switch cancels this
/// one at once. When a member fails, the group goes to its fallback. The wait may be cut short (Ctrl-C, `--timeout`): the work
/// goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Switch {
    /// The target, or GROUP/TARGET where groups have names
    #[arg(value_name = "TARGET")]
    target: String,
    /// Wait no longer than this, for example 10s or 1m30s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Span>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
    /// Print its error code as S-CORE's Launch Manager has it too, also when it fails (as JSON: "score", "error")
    #[arg(long)]
    score: bool,
}

/// Show the targets of all groups, and which is active
///
/// Below the active one stands what its group is about, and who of it is not there though it is complete: who was stopped by hand, by a
/// step of recovery or by a conflict, or starts again (as JSON: "lacks"). `verger switch` to it brings back whom somebody has stopped.
#[derive(Debug, clap::Args)]
pub(super) struct Targets {
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    /// Print the state of each group as S-CORE's Launch Manager calls it too (as JSON: "score_state")
    #[arg(long)]
    score: bool,
}

impl Switch {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = match reach::connect(setting) {
            Ok(connection) => connection,
            Err(trouble) => {
                self.tell_code(setting, Code::CommunicationError, None)?;
                return Err(trouble);
            }
        };
        let timeout_ms = self.timeout.filter(|timeout| *timeout != Span::FOREVER).map(Span::as_millis);
        // The daemon answers in time by itself; whoever waits without end waits as long as it takes.
        connection.set_patience(timeout_ms.map(|limit| Duration::from_millis(limit) + reach::PATIENCE));
        let order = Order { timeout_ms, ..Order::new(&self.target) };
        let answer = {
            let _waiting = Waiting::begin(setting, None);
            connection.switch(&order)
        };
        let code = code(&answer);
        let Switched { target, already, lacks } = match answer {
            Ok(switched) => switched,
            Err(error) => {
                let answer = if let ClientError::Remote(answer) = &error { Some(answer) } else { None };
                self.tell_code(setting, code, answer)?;
                return Err(match answer {
                    Some(Error::NotFound { name }) => unknown(name, &connection.groups().unwrap_or_default()),
                    Some(Error::Timeout { name, phase, waits_for, cause }) => {
                        late(name, *phase, waits_for.as_deref(), *cause)
                    }
                    Some(Error::Cancelled { name, by }) => cancelled(name, by),
                    Some(_) | None => reach::trouble(setting, None, &error),
                });
            }
        };
        if self.json {
            let mut value = json!({ "target": target, "already": already });
            if !lacks.is_empty() {
                value["lacks"] = json!(lacks);
            }
            if self.score {
                value["score"] = in_json(code);
            }
            return setting.terminal.say_json(&value);
        }
        if self.score {
            setting.terminal.say(&format!("{code} {}\n", code.number()))?;
        }
        let words = if already { "is active already" } else { "is active" };
        setting.terminal.say(&format!("{target} {words}{}\n", view::without(&lacks)))?;
        lacks.first().map_or(Ok(()), |first| {
            let hint = setting.terminal.out.hint("Hint:");
            setting.terminal.say(&format!("{hint} `verger why {first}` tells why {first} is not there\n"))
        })
    }

    /// Says the code of a switch that has failed, and as JSON what the daemon answered, if it did.
    fn tell_code(&self, setting: &Setting, code: Code, answer: Option<&Error>) -> Result<(), Trouble> {
        match (self.score, self.json, answer) {
            (false, true, Some(error)) => setting.terminal.say_json(&json!({ "error": error })),
            (false, ..) => Ok(()),
            (true, false, _) => setting.terminal.say(&format!("{code} {}\n", code.number())),
            (true, true, Some(error)) => setting.terminal.say_json(&json!({ "error": error, "score": in_json(code) })),
            (true, true, None) => setting.terminal.say_json(&json!({ "score": in_json(code) })),
        }
    }
}

fn in_json(code: Code) -> Value {
    json!({ "code": code.number(), "name": code.word() })
}

/// The time was over before the target was there. When that was the target's own, the switch has failed and its group goes
/// elsewhere; when it was the caller's, the work goes on.
fn late(target: &str, phase: PhaseKind, on: Option<&str>, cause: CauseKind) -> Trouble {
    let of_target = cause == CauseKind::NotReadyInTime;
    let words = match (of_target, on) {
        (true, None) => format!("the switch to {target} has failed: its time (`transition_timeout`) is over"),
        (true, Some(on)) => {
            format!(
                "the switch to {target} has failed: when its time (`transition_timeout`) was over, `{on}` was {phase}"
            )
        }
        (false, None) => format!("the time is over, and {target} is not there yet"),
        (false, Some(on)) => format!("the time is over, and {target} is not there yet: `{on}` is {phase}"),
    };
    let goes_on = if of_target { "" } else { "the work goes on; " };
    let more = on.map_or_else(String::new, |on| format!(", `verger why {on}` tells more of {on}"));
    Trouble::new(words).hint(format!("{goes_on}`verger targets` shows where its group is now{more}"))
}

/// Something else moved the group before the target was there.
fn cancelled(target: &str, by: &Origin) -> Trouble {
    let newer = match by.kind {
        OriginKind::Switch => "a newer request to switch",
        OriginKind::Plan | OriginKind::RolledBack => "another plan",
        OriginKind::Shutdown => "the end of everything",
        OriginKind::Command
        | OriginKind::Condition
        | OriginKind::Exited
        | OriginKind::StartFailed
        | OriginKind::NotReadyInTime
        | OriginKind::Fault
        | OriginKind::Revival
        | OriginKind::TimedOut => "what happened meanwhile",
    };
    Trouble::new(format!("the switch to {target} was cancelled by {newer}: {}", words::origin(by, None)))
        .hint("`verger targets` shows where its group is now")
}

impl Targets {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        let groups = connection.groups().map_err(|error| reach::trouble(setting, None, &error))?;
        if self.json {
            let mut value = json!({ "groups": groups });
            if self.score {
                for (number, group) in groups.iter().enumerate() {
                    value["groups"][number]["score_state"] = json!(score::group_state(group).word());
                }
            }
            return setting.terminal.say_json(&value);
        }
        if groups.is_empty() {
            setting.terminal.tell("the plan has no targets");
        }
        groups.iter().try_for_each(|group| {
            let absent = absent(&mut connection, group, &Clock::here());
            setting.terminal.say(&shown(group, &absent, self.score))
        })
    }
}

/// What S-CORE calls what came of it. Who is not reached has not answered.
fn code(answer: &Result<Switched, ClientError>) -> Code {
    match answer {
        Ok(switched) => score::code(&Ok(switched.clone())),
        Err(ClientError::Remote(error)) => score::code(&Err(error.clone())),
        Err(_) => Code::CommunicationError,
    }
}

/// A group's targets, one a line: whether it is active, its name, its services; before them its state in S-CORE's words, if asked for.
/// Below an active target that lacks somebody stands who that is and why (`absent`).
fn shown(group: &Group, absent: &[String], with_score: bool) -> String {
    let mut text = String::new();
    if with_score {
        let name = if group.name.is_empty() { String::new() } else { format!("{}: ", group.name) };
        text.push_str(&format!("{name}{}\n", score::group_state(group)));
    }
    for target in &group.targets {
        let is_active = target.name == group.target;
        let mark = if is_active { "*" } else { " " };
        let name = called(group, &target.name);
        let services = if target.services.is_empty() { "-".to_owned() } else { target.services.join(" ") };
        text.push_str(&format!("{mark} {name:<20} {services}\n"));
        if is_active {
            let lines = state(group).into_iter().chain(absent.iter().cloned());
            lines.for_each(|line| text.push_str(&format!("  {:<20} {line}\n", "")));
        }
    }
    text
}

/// What is to be said of a group whose target is not just active.
fn state(group: &Group) -> Option<String> {
    let on = group.waits_for.as_deref();
    Some(match group.phase {
        GroupPhase::Complete if group.lacks.is_empty() => return None,
        GroupPhase::Complete => format!("(without {})", group.lacks.join(", ")),
        GroupPhase::Stopping => "(stopping what it does not have)".to_owned(),
        GroupPhase::Starting => match on {
            Some(on) => format!("(starting; waits for {on})"),
            None => "(starting)".to_owned(),
        },
        GroupPhase::Failed => match on {
            Some(on) => format!("(failed because of {on}: verger why {on})"),
            None => "(failed)".to_owned(),
        },
        GroupPhase::Resting => match group.next.as_deref() {
            Some(next) => format!("(failed {} times; last resort: {next})", group.failures),
            None => format!("(failed {} times; is tried again)", group.failures),
        },
    })
}

fn called(group: &Group, target: &str) -> String {
    if group.name.is_empty() { target.to_owned() } else { format!("{}/{target}", group.name) }
}

/// There is no such target; perhaps another one was meant.
fn unknown(name: &str, groups: &[Group]) -> Trouble {
    let all: Vec<String> =
        groups.iter().flat_map(|group| group.targets.iter().map(|target| called(group, &target.name))).collect();
    let trouble = Trouble::new(format!("there is no target `{name}`"));
    match verger_plan::nearest(name, all.iter().map(String::as_str)) {
        Some(near) => trouble.hint(format!("did you mean `{near}`?")),
        None if all.is_empty() => trouble.hint("the plan has no targets"),
        None => trouble.hint(format!("there are: {}", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use verger_wire::message::Target;

    use super::*;

    #[test]
    fn a_time_that_is_over_is_told_as_the_targets_own_or_the_callers() {
        let told = |on, cause| {
            let Trouble { words, hints, .. } = late("Rt", PhaseKind::Resting, on, cause);
            format!("{words}\n{}", hints.join("\n"))
        };
        for (on, cause, words) in [
            (
                Some("reps"),
                CauseKind::NotReadyInTime,
                "the switch to Rt has failed: when its time (`transition_timeout`) was over, `reps` was resting\n\
                 `verger targets` shows where its group is now, `verger why reps` tells more of reps",
            ),
            (
                None,
                CauseKind::NotReadyInTime,
                "the switch to Rt has failed: its time (`transition_timeout`) is over\n\
                 `verger targets` shows where its group is now",
            ),
            (
                Some("reps"),
                CauseKind::Asked,
                "the time is over, and Rt is not there yet: `reps` is resting\n\
                 the work goes on; `verger targets` shows where its group is now, `verger why reps` tells more of reps",
            ),
        ] {
            assert_eq!(told(on, cause), words);
        }
    }

    #[test]
    fn a_cancelled_switch_says_what_cancelled_it() {
        let by = verger_wire::message::Actor { uid: 0, pid: Some(812) };
        let switch = Origin { by: Some(by), target: Some("car/park".to_owned()), ..Origin::plain(OriginKind::Switch) };
        assert_eq!(
            cancelled("car/drive", &switch).words,
            "the switch to car/drive was cancelled by a newer request to switch: uid 0 (pid 812) asked to switch to car/park"
        );
        let plan = Origin::plain(OriginKind::Plan);
        let words = "the switch to car/drive was cancelled by another plan: the plan was loaded";
        assert_eq!(cancelled("car/drive", &plan).words, words);
    }

    #[test]
    fn targets_are_shown_with_their_state() {
        let target = |name: &str, services: &[&str]| Target {
            name: name.to_owned(),
            services: services.iter().map(|service| (*service).to_owned()).collect(),
        };
        let mut group = Group {
            name: String::new(),
            target: "drive".to_owned(),
            phase: GroupPhase::Complete,
            since_us: 0,
            until_us: None,
            waits_for: None,
            lacks: Vec::new(),
            failures: 0,
            next: None,
            initial: "Off".to_owned(),
            fallback: None,
            targets: vec![target("Off", &[]), target("drive", &["camera", "planner"])],
            root: None,
        };
        assert_eq!(shown(&group, &[], false), "  Off                  -\n* drive                camera planner\n");
        group.lacks = vec!["camera".to_owned()];
        let down = ["camera is down: it was stopped by uid 0 (pid 812)".to_owned()];
        assert_eq!(
            shown(&group, &down, true),
            "Undefined\n  Off                  -\n* drive                camera planner\n                       (without camera)\n                       camera is down: it was stopped by uid 0 (pid 812)\n"
        );
        group.lacks.clear();
        (group.phase, group.waits_for) = (GroupPhase::Starting, Some("camera".to_owned()));
        group.name = "car".to_owned();
        let lines = "  car/Off              -\n* car/drive            camera planner\n                       (starting; waits for camera)\n";
        assert_eq!(shown(&group, &[], false), lines);
        assert_eq!(shown(&group, &[], true), format!("car: InTransition\n{lines}"));
        (group.phase, group.failures) = (GroupPhase::Resting, 3);
        assert_eq!(state(&group).as_deref(), Some("(failed 3 times; is tried again)"));
        group.next = Some("run car:last_resort".to_owned());
        assert_eq!(state(&group).as_deref(), Some("(failed 3 times; last resort: run car:last_resort)"));
    }
}
