//! `verger check`: whether plans are sound, without running anything.

use serde_json::{Value, json};
use verger_engine::time::Span;
use verger_plan::{Format, Reading, Severity};

use crate::awaited::{Awaited, awaited};
use crate::complaints;
use crate::end_check::LateEnd;
use crate::plans::{self, Where};
use crate::setting::Setting;
use crate::trouble::{FAILED, Trouble};
use crate::unmet;
use crate::words;

/// Check plans without running anything
///
/// Every complaint about the text is told at once, each with its place, what was expected and what to do. Once the
/// text has no errors, users, groups, programs, folders, CPUs and the controllers of limits are looked for on this machine; and a plan that cannot end
/// within its `shutdown_budget` is warned of, with the chain of services that takes longest. So are services that
/// nothing starts, conditions that nobody can satisfy, conditions whose actions start each other without end, and times too short for what
/// is to happen in them. What a text
/// asks for and verger does not do is listed as not applied, and conditions that somebody has to set are named. Exit status: 0 no errors (there may be warnings), 1
/// errors.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The plans: TOML, JSON, or configurations of AOS or S-CORE; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// See whether they can end within this time, whatever budget they have themselves: 10s, 1m30s
    #[arg(long, value_name = "TIME", value_parser = super::orders::duration)]
    budget: Option<Span>,
    /// They are for another machine: do not look whether users, groups, programs, folders and CPUs are there
    #[arg(long)]
    elsewhere: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let place = if self.elsewhere { Where::Elsewhere } else { Where::Here };
        let mut sound = true;
        let mut files = Vec::new();
        for file in &self.files {
            let (mut reading, late) = plans::read(file, place, self.budget);
            let unmet = unmet::complaints(&reading);
            reading.complaints.extend(unmet);
            if place == Where::Here {
                let lacking = plans::without_controllers(&reading);
                reading.complaints.extend(lacking);
            }
            sound &= reading.plan.is_some();
            match self.json {
                true => files.push(as_json(file, &reading, late.as_ref())),
                false => tell(setting, file, &reading, late.as_ref())?,
            }
        }
        if self.json {
            setting.terminal.say_json(&json!({ "sound": sound, "files": files }))?;
        }
        if sound { Ok(()) } else { Err(Trouble::said(FAILED)) }
    }
}

fn tell(setting: &Setting, file: &str, reading: &Reading, late: Option<&LateEnd>) -> Result<(), Trouble> {
    let (errors, warnings) = plans::show_complaints(setting, reading);
    if let Some(late) = late {
        setting.terminal.tell(&late.table(setting.terminal.err));
    }
    plans::tell_not_applied(setting, Some(reading));
    for awaited in awaited(reading) {
        setting.terminal.tell(&format!("{} {awaited}", setting.terminal.err.hint("Note:")));
    }
    let mut found = match &reading.plan {
        Some(plan) => vec![format!("sound, {}", words::count(plan.services.len(), "service"))],
        None => vec![words::count(errors, "error")],
    };
    found.extend((warnings > 0).then(|| words::count(warnings, "warning")));
    found.extend(
        (!reading.not_applied.is_empty())
            .then(|| format!("{} not applied", words::count(reading.not_applied.len(), "key"))),
    );
    setting.terminal.say(&format!("{file}: {}\n", found.join(", ")))
}

/// What a file is written in, as JSON has it.
pub(super) fn format_word(format: Format) -> &'static str {
    match format {
        Format::NativeToml => "toml",
        Format::NativeJson => "json",
        Format::AosJson => "aos",
        Format::ScoreSeedJson => "score-seed",
        Format::ScoreJson => "score",
        Format::OciJson => "oci",
        Format::Unknown => "unknown",
    }
}

fn as_json(file: &str, reading: &Reading, late: Option<&LateEnd>) -> Value {
    let not_applied: Vec<Value> = reading
        .not_applied
        .iter()
        .map(|it| {
            json!({
                "service": it.service, "key": it.key, "file": it.file, "line": it.line, "column": it.column,
                "reason": it.reason,
            })
        })
        .collect();
    let errors = reading.complaints.iter().filter(|it| it.severity == Severity::Error).count();
    json!({
        "file": file,
        "format": format_word(reading.format),
        "sound": reading.plan.is_some(),
        "services": reading.plan.as_ref().map(|plan| plan.services.len()),
        "errors": errors,
        "complaints": reading.complaints.iter().map(complaints::as_json).collect::<Vec<Value>>(),
        "not_applied": not_applied,
        "to_be_set": awaited(reading).iter().map(Awaited::as_json).collect::<Vec<Value>>(),
        "late_end": late.map(LateEnd::as_json),
    })
}
