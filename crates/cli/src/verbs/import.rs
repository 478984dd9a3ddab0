//! `verger import`: a plan of verger's own from a configuration of another system, and what becomes of its keys.

use serde_json::{Value, json};
use verger_engine::image::{Origin, Plan};
use verger_plan::{Fate, Format, KeyFate, Reading};

use crate::complaints;
use crate::plans;
use crate::setting::Setting;
use crate::table::{Cell, table};
use crate::trouble::{FAILED, Trouble};
use crate::words::{self, Tone};

/// Print a configuration of another system as a plan of verger's own, or what becomes of its keys
///
/// AOS configurations and both of S-CORE's are run as they are. Who wants to go on in verger's own format gets the same plan here
/// as TOML: compiled it is the same, but for the places where things stand. Of the configuration of a container (`config.json` of an
/// OCI runtime) it makes a plan of the process, which runs on the machine itself; in a container a service runs it that has `bundle`. With `--report` every key of the file is listed
/// instead, with what it comes to: kept (it means the same), approximated (nearly), or not applicable (it has no effect), and how
/// or why. A key that is not understood is an error. A plan of verger's own is printed as it is understood: templates, defaults
/// and conditions as the services that they come to. Nothing is run. Exit status: 0 no errors, 1 errors.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The configuration; `-` is standard input
    file: String,
    /// List every key with what becomes of it
    #[arg(long)]
    report: bool,
    /// Print the list as JSON
    #[arg(long, requires = "report")]
    json: bool,
}

impl Import {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let (reading, fates) = plans::fates(&self.file);
        if let Format::NativeToml | Format::NativeJson = reading.format
            && self.report
        {
            return Err(Trouble::new(format!("{} is a plan of verger's own", self.file)).hint(format!(
                "it has no keys of another system; `verger check {}` says what it comes to",
                self.file
            )));
        }
        if !self.report {
            return self.print(setting, &reading);
        }
        match self.json {
            true => setting.terminal.say_json(&as_json(&self.file, &reading, &fates))?,
            false => tell(setting, &self.file, &reading, &fates)?,
        }
        if reading.plan.is_some() { Ok(()) } else { Err(Trouble::said(FAILED)) }
    }
}

impl Import {
    /// Prints the plan in verger's own format, if read again it is the same.
    fn print(&self, setting: &Setting, reading: &Reading) -> Result<(), Trouble> {
        plans::show_complaints(setting, reading);
        plans::tell_not_applied(setting, Some(reading));
        let Some(plan) = &reading.plan else { return Err(Trouble::said(FAILED)) };
        let text = verger_plan::to_toml(plan);
        let again = verger_plan::read_bytes("imported.toml", text.as_bytes(), &verger_plan::NoFiles);
        if again.plan.as_ref().is_none_or(|again| image(again).is_none() || image(again) != image(plan)) {
            let trouble = Trouble::new(format!("{} cannot be said in verger's own format", self.file))
                .detail("the plan that would be printed is not the same when it is read again")
                .hint("it runs as it is; this is a bug of verger: please report it with the file");
            return Err(again.complaints.first().into_iter().fold(trouble, |it, said| it.detail(said.to_string())));
        }
        let file = self.file.escape_debug();
        let more = match reading.format {
            Format::NativeToml | Format::NativeJson => ", as it is understood",
            Format::AosJson | Format::ScoreSeedJson | Format::ScoreJson | Format::OciJson | Format::Unknown => {
                "; `verger import --report` says what became of each of its keys"
            }
        };
        setting.terminal.say(&format!("# From {file}{more}.\n\n{text}"))
    }
}

/// What a plan compiles to, wherever it was written.
fn image(plan: &Plan) -> Option<Vec<u8>> {
    let mut plan = plan.clone();
    for service in &mut plan.services {
        service.origin = Origin::default();
    }
    verger_plan::compile(&plan).ok()
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
