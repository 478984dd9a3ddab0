//! `verger replay`: a recorded life told again to an engine.

use std::path::PathBuf;

use serde_json::json;
use verger_engine::Engine;
use verger_engine::time::{Moment, Span};
use verger_wire::message::Service;
use verger_wire::view;

use crate::setting::Setting;
use crate::tape::{self, End, Step, Tape};
use crate::terminal::Paint;
use crate::trouble::{FAILED, Trouble};
use crate::words;

/// Tell a recorded life of a daemon again, and say whether this engine does the same
///
/// A daemon records what its engine is told (`recording`, in the instance's folder; `verger record` keeps a copy). The engine
/// of this `verger` is told the same; what happens is shown, with the time since the recording began. Each piece of news of a
/// run must answer to an order that this engine has given: where one does not, the two disagree. Exit status: 0 they agree,
/// 1 they do not, or the file cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// The recording; none means that of the instance
    file: Option<PathBuf>,
    /// The compiled plan it is read with, if that is neither `FILE.plan` nor `plan` beside it
    #[arg(long, value_name = "FILE", requires = "file")]
    plan: Option<PathBuf>,
    /// Print each change and the outcome as a line of JSON
    #[arg(long)]
    json: bool,
    /// Do not show what happens, only the outcome
    #[arg(short, long)]
    quiet: bool,
}

impl Replay {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let tape = match &self.file {
            Some(file) => tape::in_file(file, self.plan.as_deref())?,
            None => tape::of_instance(setting)?,
        };
        let mut teller = Teller { replay: &self, setting, begun: None, told: Told::default(), trouble: None };
        let (engine, end) = tape.play(&mut |engine, step| teller.take(engine, step))?;
        let Teller { told, trouble, .. } = teller;
        trouble.map_or(Ok(()), Err)?;
        outcome(setting, &tape, &engine, &told, &end, self.json)
    }
}

/// What was told in a replay.
#[derive(Default)]
struct Told {
    events: u64,
    changes: u64,
    /// The first event that does not fit, and when and how.
    disagreement: Option<(u64, Span, String)>,
    lasted: Span,
}

/// Shows a replay step by step.
struct Teller<'r> {
    replay: &'r Replay,
    setting: &'r Setting,
    begun: Option<Moment>,
    told: Told,
    /// Nobody reads any more.
    trouble: Option<Trouble>,
}

impl Teller<'_> {
    fn take(&mut self, engine: &Engine, step: Step) {
        let begun = *self.begun.get_or_insert(step.at);
        self.told.events = step.number;
        self.told.lasted = step.at.since(begun);
        self.told.changes += step.transitions.len() as u64;
        if let (None, Some(how)) = (&self.told.disagreement, step.disagreement) {
            self.told.disagreement = Some((step.number, self.told.lasted, how));
        }
        if self.replay.quiet || self.trouble.is_some() {
            return;
        }
        for transition in &step.transitions {
            let service = engine.find(&transition.service).and_then(|service| view::service(engine, service.slot));
            let said = match self.replay.json {
                true => self.setting.terminal.say_json(transition),
                false => {
                    let line = line(
                        self.told.lasted,
                        &transition.service,
                        service.as_ref(),
                        transition,
                        self.setting.terminal.out,
                    );
                    self.setting.terminal.say(&line)
                }
            };
            self.trouble = said.err();
        }
    }
}

fn line(
    since: Span,
    name: &str,
    service: Option<&Service>,
    transition: &verger_wire::message::Transition,
    paint: Paint,
) -> String {
    let what = paint.tone(words::tone(transition.to), words::moved(transition, service));
    format!("{}  {name}  {what}\n", paint.faint(format!("{:>10}", after(since))))
}

/// `+12.345`: seconds since the recording began.
fn after(since: Span) -> String {
    let millis = since.as_millis();
    format!("+{}.{:03}", millis / 1_000, millis % 1_000)
}

fn outcome(
    setting: &Setting,
    tape: &Tape,
    engine: &Engine,
    told: &Told,
    end: &End,
    as_json: bool,
) -> Result<(), Trouble> {
    let cut = match end {
        End::Whole => None,
        End::Cut(error) => Some(error.to_string()),
    };
    if as_json {
        let disagreement = told
            .disagreement
            .as_ref()
            .map(|(event, after, how)| json!({ "event": event, "after_us": after.0 / 1_000, "what": how }));
        setting.terminal.say_json(&json!({
            "events": told.events, "changes": told.changes, "services": engine.len(),
            "agrees": told.disagreement.is_none(), "disagreement": disagreement, "cut": cut,
        }))?;
    } else {
        let count = |number: u64, what| words::count(usize::try_from(number).unwrap_or(usize::MAX), what);
        let within = match told.lasted {
            Span(0) => String::new(),
            lasted => format!(" in {}", words::brief(lasted)),
        };
        setting.terminal.say(&format!(
            "{}: {}, {}{within}\n",
            tape.path.display(),
            count(told.events, "event"),
            count(told.changes, "change")
        ))?;
        if let Some(cut) = cut {
            setting.terminal.say(&format!("it breaks off after event {}: {cut}\n", told.events))?;
        }
        let verdict = match &told.disagreement {
            None => "this engine gives the same orders, to the end".to_owned(),
            Some((event, after, how)) => {
                let agreed = event.saturating_sub(1);
                format!(
                    "this engine gives the same orders up to event {agreed}; at event {event} ({}) {how}",
                    self::after(*after)
                )
            }
        };
        setting.terminal.say(&format!("{verdict}\n"))?;
    }
    if told.disagreement.is_none() { Ok(()) } else { Err(Trouble::said(FAILED)) }
}
