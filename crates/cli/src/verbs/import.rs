//! `verger import`: what becomes of a configuration of another system.

use serde_json::{Value, json};
use verger_plan::{Fate, Format, KeyFate, Reading};

use crate::complaints;
use crate::plans;
use crate::setting::Setting;
use crate::table::{Cell, table};
use crate::trouble::{FAILED, Trouble};
use crate::words::{self, Tone};

/// Tell what becomes of a configuration of another system
///
/// AOS configurations and both of S-CORE's are run as they are; with `--report` every key of the file is listed with what it
/// comes to: kept (it means the same), approximated (nearly), or not applicable (it has no effect), and how or why. A key
/// that is not understood is an error. Nothing is run or written. Exit status: 0 no errors, 1 errors.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The configuration; `-` is standard input
    file: String,
    /// List every key with what becomes of it
    #[arg(long, required = true)]
    report: bool,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let (reading, fates) = plans::fates(&self.file);
        if let Format::NativeToml | Format::NativeJson = reading.format {
            return Err(Trouble::new(format!("{} is a plan of verger's own", self.file)).hint(format!(
                "it has no keys of another system; `verger check {}` says what it comes to",
                self.file
            )));
        }
        match self.json {
            true => setting.terminal.say_json(&as_json(&self.file, &reading, &fates))?,
            false => tell(setting, &self.file, &reading, &fates)?,
        }
        if reading.plan.is_some() { Ok(()) } else { Err(Trouble::said(FAILED)) }
    }
}

fn tell(setting: &Setting, file: &str, reading: &Reading, fates: &[KeyFate]) -> Result<(), Trouble> {
    let (errors, _) = plans::show_complaints(setting, reading);
    if !fates.is_empty() {
        let rows: Vec<Vec<Cell>> = fates.iter().map(|told| row(told, file)).collect();
        setting.terminal.say(&table(&["PLACE", "FATE", "KEY", "HERE"], &rows, setting.terminal.out))?;
    }
    let of = |fate: Fate| fates.iter().filter(|it| it.fate == fate).count();
    let mut found: Vec<String> = [Fate::Kept, Fate::Approximated, Fate::NotApplicable]
        .into_iter()
        .map(|fate| format!("{} {}", of(fate), fate.word()))
        .collect();
    found.extend((errors > 0).then(|| words::count(errors, "error")));
    setting.terminal.say(&format!("{file}: {}\n", found.join(", ")))
}

fn row(told: &KeyFate, file: &str) -> Vec<Cell> {
    let tone = match told.fate {
        Fate::Kept => Tone::Good,
        Fate::Approximated => Tone::Uneasy,
        Fate::NotApplicable => Tone::Bad,
    };
    let place = format!("{}:{}", told.line, told.column);
    vec![
        // What it imports has its name before it.
        Cell::new(if told.file == file { place } else { format!("{}:{place}", told.file) }),
        Cell::toned(told.fate.word(), tone),
        Cell::new(told.key.clone()),
        Cell::new(told.reason),
    ]
}

fn as_json(file: &str, reading: &Reading, fates: &[KeyFate]) -> Value {
    let keys: Vec<Value> = fates
        .iter()
        .map(|told| {
            json!({
                "key": told.key, "file": told.file, "line": told.line, "column": told.column,
                "fate": told.fate.word(), "reason": told.reason,
            })
        })
        .collect();
    json!({
        "file": file,
        "format": super::check::format_word(reading.format),
        "sound": reading.plan.is_some(),
        "complaints": reading.complaints.iter().map(complaints::as_json).collect::<Vec<Value>>(),
        "keys": keys,
    })
}
