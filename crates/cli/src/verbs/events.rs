//! `verger events`: what has happened, and what happens.

use std::collections::BTreeMap;

use serde_json::json;
use verger_client::{ClientError, Watch, WatchEvent};
use verger_wire::message::{Call, ReceiptInShort, Service, Transition, Why};

use crate::names;
use crate::reach;
use crate::sequence::in_order;
use crate::setting::Setting;
use crate::terminal::Paint;
use crate::trouble::Trouble;
use crate::words::{self, Clock, Tone};

/// Show what happened to services, and with `--follow` what happens
///
/// The daemon keeps the last changes of each service; they are shown in the order in which they happened. `verger replay`
/// tells more of the past, from the recording.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Services, by name or pattern (`cam-*`); none means all
    #[arg(value_name = "NAME|GLOB")]
    names: Vec<String>,
    /// Go on as things happen, until the daemon ends
    #[arg(short, long)]
    follow: bool,
    /// Print each change as a line of JSON
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let failed = |error: ClientError| reach::trouble(setting, None, &error);
        let mut connection = reach::connect(setting)?;
        let typed = names::expand(setting, &mut connection, &self.names)?;
        let names: Vec<&str> = typed.iter().map(String::as_str).collect();
        let names = (!names.is_empty()).then_some(&names[..]);
        // Begun before the past is asked for, so that nothing falls between the two.
        let watch = match self.follow {
            true => Some(reach::connect(setting)?.watch(names).map_err(failed)?),
            false => None,
        };
        let services = connection.list(names).map_err(failed)?;
        let mut journal = Journal::new(setting, self.json, &services);
        let calls: Vec<Call> = services.iter().map(|it| Call::Why { name: it.name.clone() }).collect();
        let answers = connection.pipeline::<Why>(&calls).map_err(failed)?;
        journal.past(answers.into_iter().filter_map(Result::ok))?;
        match watch {
            Some(watch) => journal.follow(watch),
            None => Ok(()),
        }
    }
}

/// Changes, line by line, each once.
struct Journal<'s> {
    setting: &'s Setting,
    json: bool,
    width: usize,
    /// The number of the last change shown of each service.
    shown: BTreeMap<String, u32>,
}

impl<'s> Journal<'s> {
    fn new(setting: &'s Setting, json: bool, services: &[Service]) -> Journal<'s> {
        let width = services.iter().map(|service| service.name.chars().count()).max().unwrap_or(0);
        Journal { setting, json, width, shown: BTreeMap::new() }
    }

    fn past(&mut self, past: impl Iterator<Item = Why>) -> Result<(), Trouble> {
        let mut all: Vec<(Transition, Service)> = Vec::new();
        for why in past {
            all.extend(why.history.into_iter().map(|transition| (transition, why.service.clone())));
        }
        let all = in_order(all, |(transition, _)| transition);
        all.iter().try_for_each(|(transition, service)| self.show(transition, Some(service)))
    }

    fn follow(&mut self, mut watch: Watch) -> Result<(), Trouble> {
        for event in watch.by_ref() {
            match event {
                Ok(WatchEvent::Moved { transition, service }) => self.show(&transition, service.as_deref())?,
                Ok(WatchEvent::Snapshot { lost: Some(lost), .. }) => self.lost(lost)?,
                Ok(WatchEvent::Stopped(receipt)) => self.stopped(&receipt)?,
                Ok(WatchEvent::Snapshot { lost: None, .. } | WatchEvent::Changed(_) | WatchEvent::Gone(_)) => {}
                Err(error) => return Err(reach::trouble(self.setting, None, &error)),
            }
        }
        self.setting.terminal.tell("the daemon has ended");
        Ok(())
    }

    fn show(&mut self, transition: &Transition, service: Option<&Service>) -> Result<(), Trouble> {
        let last = self.shown.get(&transition.service);
        if last.is_some_and(|last| *last >= transition.number) {
            return Ok(());
        }
        self.shown.insert(transition.service.clone(), transition.number);
        if self.json {
            return self.setting.terminal.say_json(transition);
        }
        let line = line(transition, service, self.width, &Clock::here(), self.setting.terminal.out);
        self.setting.terminal.say(&line)
    }

    fn stopped(&self, receipt: &ReceiptInShort) -> Result<(), Trouble> {
        if self.json {
            return self.setting.terminal.say_json(&json!({ "receipt": receipt }));
        }
        let paint = self.setting.terminal.out;
        let (stamp, width) = (Clock::here().stamp(receipt.empty_us), self.width);
        let what = paint.tone(Tone::Faint, words::receipt_in_short(receipt));
        self.setting.terminal.say(&format!("{}  {:<width$}  {what}\n", paint.faint(stamp), receipt.service))
    }

    fn lost(&self, lost: u64) -> Result<(), Trouble> {
        if self.json {
            return self.setting.terminal.say_json(&json!({ "lost": lost }));
        }
        let words = format!(
            "{} came faster than they could be shown",
            words::count(usize::try_from(lost).unwrap_or(usize::MAX), "change")
        );
        self.setting.terminal.say(&format!("{}\n", self.setting.terminal.out.tone(Tone::Uneasy, words)))
    }
}

fn line(transition: &Transition, service: Option<&Service>, width: usize, clock: &Clock, paint: Paint) -> String {
    let what = paint.tone(words::tone(transition.to), words::moved(transition, service));
    format!("{}  {:<width$}  {what}\n", paint.faint(clock.stamp(transition.at_us)), transition.service)
}
