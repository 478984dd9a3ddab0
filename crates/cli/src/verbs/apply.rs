//! `verger plan`, `verger apply`, `verger confirm`, `verger rollback`: another plan for a daemon that runs, seen first.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use verger_client::{ClientError, Connection};
use verger_engine::image::{self, Edit, Image, PartKind};
use verger_engine::preview::Act;
use verger_engine::time::Span;
use verger_wire::message::{CauseKind, Change, Changes, Error, PartChange, TargetChange, Verdict, VerdictKind};
use verger_wire::view;

use super::orders::duration;
use crate::launch;
use crate::plans::{self, Where};
use crate::reach;
use crate::setting::Setting;
use crate::trouble::{FAILED, Trouble};
use crate::waiting::Waiting;
use crate::words::{self, Clock, Tone};

/// Show what another plan would do, and why
///
/// Nothing is done. The plan in FILE is tried on a copy of the daemon's own engine, so what is shown is what `verger apply` would do
/// at this moment: which services would start, stop or restart, which of them would wait until another one has ended that they
/// conflict with, which would only be described otherwise, which target of a group would become active, and which keys of the plan,
/// of its groups, targets, handles and recovery sets would be others. Whatever is not shown keeps its run.
#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    #[command(flatten)]
    what: What,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Nobody can say anything in no time, and a trial without an end would refuse every other change.
fn time_to_confirm(text: &str) -> Result<Span, String> {
    match duration(text)? {
        Span::ZERO => Err("nobody can confirm it within no time; without `--confirm` it is kept by itself".to_owned()),
        Span::FOREVER => Err("a trial has to end; give it a time, as 5m".to_owned()),
        time => Ok(time),
    }
}

/// Put another plan in force, on trial
///
/// What it does not touch keeps its run, or stays down: who was stopped or has failed is not started by a plan that describes him as
/// before (`verger start NAME` does that). When something that it touches fails, or not everything is up in time, the former plan is in
/// force again. It is kept when everything that it touches has been up for as long as its plan calls healthy (`healthy_after`);
/// with `--confirm`, when somebody says so: `verger confirm`. The exit status is 0 when it is kept or waits to be confirmed, 1 when it
/// was rolled back. The plan's file is not changed: a daemon that is started anew has the plan that it is started with.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    #[command(flatten)]
    what: What,
    /// Roll it back unless `verger confirm` follows within this time, once everything is up: 60s, 5m
    #[arg(long, value_name = "TIME", value_parser = time_to_confirm)]
    confirm: Option<Span>,
    /// Roll it back when not everything is up by then
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m")]
    within: Span,
    /// Refuse when another plan is in force than the one with this digest: `verger plan` shows it
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    from: Option<u64>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// Keep the change that is on trial
#[derive(Debug, clap::Args)]
pub(super) struct Confirm {
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// Take the change that is on trial back
///
/// The former plan is in force again; what the change did not touch is not touched by this either.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// The plan that is to be in force.
#[derive(Debug, clap::Args)]
struct What {
    /// The plan: TOML, JSON, a configuration of AOS or S-CORE, or a compiled one; `-` is standard input
    file: String,
    /// FILE is a fragment: its services, handles and groups are added to the plan in force, whose services it may refer to
    #[arg(long)]
    add: bool,
}

/// A plan's digest: 16 hexadecimal digits.
fn digest(text: &str) -> Result<u64, String> {
    verger_wire::digest::from_text(text).ok_or_else(|| "a digest has 16 hexadecimal digits".to_owned())
}

/// A compiled plan, ready to be sent.
struct Sealed {
    /// In a file that cannot change any more.
    file: OwnedFd,
    /// The digest of the plan that it was made for, if for one.
    base: Option<u64>,
    lists: Lists,
}

impl What {
    fn sealed(&self, setting: &Setting) -> Result<Sealed, Trouble> {
        let (image, base) = if self.add {
            let (image, base) = plans::added_to_the_plan_in_force(setting, &self.file)?;
            (image, Some(base))
        } else {
            let ready = plans::ready(setting, &self.file, Where::Here, None)?;
            plans::tell_not_applied(setting, ready.reading.as_ref());
            (ready.image, None)
        };
        Ok(Sealed { file: launch::seal(&image)?, base, lists: Lists::of(image) })
    }
}

/// Which targets of a plan list a service, by its name.
#[derive(Default)]
struct Lists(BTreeMap<String, Vec<String>>);

impl Lists {
    /// Of an image that is none nothing is known: the daemon says so.
    fn of(image: Vec<u8>) -> Lists {
        let mut lists = Lists::default();
        let Ok(image) = Image::verify(Arc::new(image)) else { return lists };
        for group in image::plan_of(&image).groups {
            for target in group.targets {
                for service in target.services {
                    lists.0.entry(service).or_default().push(view::target_name(&group.name, &target.name));
                }
            }
        }
        lists
    }

    /// Why a service that the plan has is not asked for by it.
    fn why_not_asked_for(&self, service: &str) -> String {
        match self.0.get(service).map(Vec::as_slice) {
            None | Some([]) => "the plan does not ask for it any more".to_owned(),
            Some([target]) => format!("the plan has it in target {target}, which is not active"),
            Some(targets) => format!("the plan has it in targets {}, none of which is active", targets.join(", ")),
        }
    }
}

impl Plan {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let Sealed { file, base, lists } = self.what.sealed(setting)?;
        let mut connection = reach::connect(setting)?;
        let changes = connection.preview(&file, base).map_err(|error| refused(setting, &error))?;
        if self.json {
            return setting.terminal.say_json(&json!(changes));
        }
        setting.terminal.say(&shown(setting, &changes, &lists))
    }
}

impl Apply {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let Sealed { file, base, lists } = self.what.sealed(setting)?;
        let mut connection = reach::connect(setting)?;
        let from = self.from.or(base);
        let changes = connection.preview(&file, from).map_err(|error| refused(setting, &error))?;
        if !self.json {
            setting.terminal.say(&shown(setting, &changes, &lists))?;
        }
        // Just what was shown: another plan in force meanwhile is refused.
        let seen = changes.from.as_deref().map_or(Ok(0), digest).ok();
        let verdict = {
            let _waiting = Waiting::begin(setting, None);
            let span = |span: Span| Duration::from_nanos(span.0);
            connection.set_patience(None);
            connection.apply(&file, seen, Some(span(self.within)), self.confirm.map(span))
        };
        told(setting, verdict.map_err(|error| refused(setting, &error))?, self.json)
    }
}

impl Confirm {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        decide(setting, true, self.json)
    }
}

impl Rollback {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        decide(setting, false, self.json)
    }
}

fn decide(setting: &Setting, keep: bool, json: bool) -> Result<(), Trouble> {
    let mut connection: Connection = reach::connect(setting)?;
    let verdict = connection.decide(keep).map_err(|error| refused(setting, &error))?;
    if keep || json {
        return told(setting, verdict, json);
    }
    setting.terminal.say("the former plan is in force again\n")
}

fn refused(setting: &Setting, error: &ClientError) -> Trouble {
    if let ClientError::Remote(Error::Stale) = error {
        return Trouble::new("another plan is in force than the one it is to replace")
            .hint("look again what it would do: `verger plan`");
    }
    if let ClientError::Remote(Error::Limit { which }) = error {
        return Trouble::new(format!("the plan does not fit: the daemon has reserved room for {which}"))
            .hint("reserve more with `[limits]` in the plan that the daemon is started with, and start it anew");
    }
    reach::trouble(setting, None, error)
}

/// Says what became of a change.
fn told(setting: &Setting, verdict: Verdict, json: bool) -> Result<(), Trouble> {
    let of = verdict.service.as_deref();
    let outcome = match verdict.verdict {
        VerdictKind::Kept => Ok("the plan is in force\n".to_owned()),
        VerdictKind::Arrived => {
            let within = verdict.until_us.map(|until| Clock::here().until(until));
            let within = within.map_or_else(String::new, |left| format!(" within {}", words::brief(left)));
            Ok(format!(
                "everything is up so far: `verger confirm`{within} keeps it; a failure until then takes it back, as does `verger rollback`\n"
            ))
        }
        VerdictKind::Interrupted => Err(Trouble::new("everything is ending")),
        VerdictKind::RolledBack => {
            let why = verdict.reason.map_or("", words::rolled_back);
            let of = of.map_or_else(String::new, |name| format!(" ({name})"));
            let trouble = Trouble::new(format!("rolled back, and the former plan is in force again: {why}{of}"));
            Err(trouble.hints(verdict.service.as_deref().map(|name| where_told(setting, name))).with_status(FAILED))
        }
    };
    if json {
        setting.terminal.say_json(&json!(verdict))?;
        return outcome.map(|_| ()).map_err(|_| Trouble::said(FAILED));
    }
    setting.terminal.say(&outcome?)
}

/// Where it is told what became of the service that was the reason. The daemon keeps nothing of one that the former plan does
/// not have.
fn where_told(setting: &Setting, name: &str) -> String {
    let is_there = reach::connect(setting).is_ok_and(|mut connection| connection.list(Some(&[name])).is_ok());
    if is_there {
        format!("`verger events {name}` and the daemon's log tell what became of {name}")
    } else {
        format!("the daemon's log tells what became of {name}, and so does `verger events --follow` beside another try")
    }
}

/// What a plan would do, a line each: the services, then which targets become active, then what else is described otherwise.
fn shown(setting: &Setting, changes: &Changes, lists: &Lists) -> String {
    let lines: Vec<Line> = (changes.changes.iter().map(|change| of_service_change(change, lists)))
        .chain(changes.targets.iter().map(of_target))
        .chain(changes.parts.iter().map(of_part))
        .collect();
    let from = changes.from.as_deref().unwrap_or("none");
    if lines.is_empty() {
        return match changes.from.as_deref() {
            Some(from) if from == changes.to => format!("nothing would change (plan in force: {from})\n"),
            _ => {
                let to = &changes.to;
                format!("nothing would change but where things are written (plan in force: {from}; new: {to})\n")
            }
        };
    }
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Line { mark, tone, act, what, why } in &lines {
        let act = setting.terminal.out.tone(*tone, format!("{mark} {act:<7}"));
        text.push_str(format!("{act} {what:<width$}  {why}").trim_end());
        text.push('\n');
    }
    let count = |act: Act| changes.changes.iter().filter(|change| change.act == act).count();
    let edited = |edit: Edit| changes.parts.iter().filter(|part| part.edit == edit).count();
    let total = format!(
        "{} to start, {} to stop, {} to restart, {} only described otherwise, {} only added or forgotten",
        count(Act::Start),
        count(Act::Stop),
        count(Act::Restart),
        count(Act::Update) + edited(Edit::Update),
        count(Act::Add) + count(Act::Remove) + edited(Edit::Add) + edited(Edit::Remove),
    );
    format!("{text}{total}\nplan in force: {from}; new: {}\n", changes.to)
}

/// One thing that would change.
struct Line {
    mark: &'static str,
    tone: Tone,
    act: &'static str,
    what: String,
    why: String,
}

fn of_service_change(change: &Change, lists: &Lists) -> Line {
    let (mark, tone) = match change.act {
        Act::Start => ("+", Tone::Good),
        Act::Stop => ("-", Tone::Bad),
        Act::Restart => ("~", Tone::Uneasy),
        Act::Update | Act::Add | Act::Remove => (" ", Tone::Plain),
    };
    Line { mark, tone, act: change.act.word(), what: change.service.clone(), why: why(change, lists) }
}

fn of_target(change: &TargetChange) -> Line {
    let slash = if change.group.is_empty() { "" } else { "/" };
    let why = match &change.from {
        Some(from) => format!("in place of {from}"),
        None => "the group is new".to_owned(),
    };
    let what = format!("target {}{slash}{}", change.group, change.to);
    Line { mark: "~", tone: Tone::Uneasy, act: "enter", what, why }
}

fn of_part(part: &PartChange) -> Line {
    let why = match part.edit {
        Edit::Update => part.keys.join(", "),
        Edit::Add => "new".to_owned(),
        Edit::Remove => "the plan does not have it".to_owned(),
    };
    let what = match part.part {
        PartKind::Plan => "the plan".to_owned(),
        kind @ (PartKind::Group | PartKind::Target | PartKind::Handle | PartKind::Recovery) => {
            format!("{kind} {}", part.name)
        }
    };
    Line { mark: " ", tone: Tone::Plain, act: part.edit.word(), what, why }
}

/// Why something would be done about a service.
fn why(change: &Change, lists: &Lists) -> String {
    let on = change.on.as_deref().unwrap_or("another");
    let keys = if change.for_another_run.is_empty() { &change.keys } else { &change.for_another_run };
    let others: Vec<&str> = change.keys.iter().filter(|key| !keys.contains(key)).map(String::as_str).collect();
    let because = match (change.act, change.cause) {
        (Act::Add, _) => "new, and not wanted".to_owned(),
        (Act::Remove, _) => "the plan does not have it; it has no run".to_owned(),
        (Act::Update, _) => keys.join(", "),
        (_, Some(CauseKind::Redescribed)) if !keys.is_empty() => {
            format!("only another run can have its {}", keys.join(", "))
        }
        (_, Some(CauseKind::Redescribed)) => "the plan describes it otherwise".to_owned(),
        (_, Some(CauseKind::Removed)) => "the plan does not have it".to_owned(),
        (Act::Stop, Some(CauseKind::RestartedWith)) => format!("requires {on}, which goes down"),
        (_, Some(CauseKind::RestartedWith)) => format!("requires {on}, which restarts"),
        (_, Some(CauseKind::DownWith)) => format!("requires {on}, which goes down"),
        (_, Some(CauseKind::Needed)) => format!("{on} needs it"),
        (_, Some(CauseKind::Unneeded)) => format!("{on} does not need it any more"),
        (_, Some(CauseKind::Conflicts)) => match change.waits_for {
            Some(_) => format!("conflicts with {on}, which runs on"),
            None => format!("conflicts with {on}"),
        },
        (Act::Start, _) => "the plan asks for it".to_owned(),
        (Act::Stop, _) => lists.why_not_asked_for(&change.service),
        (Act::Restart, _) => "it ends already, and the plan asks for it".to_owned(),
    };
    let because = match (&change.waits_for, change.act) {
        (None, _) => because,
        (Some(end), Act::Start) => format!("{because}; starts once {end} has ended"),
        (Some(end), _) => format!("{because}; starts again once {end} has ended"),
    };
    if others.is_empty() || change.act == Act::Update {
        because
    } else {
        format!("{because}; also {}", others.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_targets_that_are_not_active_is_told_which() {
        let text = "[service.a]\ncommand = 'a'\n[service.b]\ncommand = 'b'\n[service.c]\ncommand = 'c'\n\
                    [target.t]\nservices = ['a']\n[group.g.target.u]\nservices = ['b']\n[group.g.target.v]\nservices = ['b']\n";
        let reading = verger_plan::read_bytes("x.toml", text.as_bytes(), &verger_plan::NoFiles);
        let lists = Lists::of(verger_plan::compile(&reading.plan.unwrap()).unwrap());
        for (service, words) in [
            ("a", "the plan has it in target t, which is not active"),
            ("b", "the plan has it in targets g/u, g/v, none of which is active"),
            ("c", "the plan does not ask for it any more"),
            ("d", "the plan does not ask for it any more"),
        ] {
            assert_eq!(lists.why_not_asked_for(service), words);
        }
        assert_eq!(Lists::of(Vec::new()).why_not_asked_for("a"), "the plan does not ask for it any more");
    }
}
