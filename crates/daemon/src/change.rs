//! A plan that comes over a control connection: what it would do is told, or it is put in force, on trial.
//!
//! It comes as a descriptor of a sealed memory file, so nothing is read from a disk here, and nobody can change it afterwards. The
//! engine decides what becomes of it. Until it is kept, a daemon that breaks comes back with the plan that was in force before: what
//! breaks a daemon is not confirmed. What it had begun from the plan on trial it finds under that one first ([`left_on_trial`]), so that
//! taking the former plan is a roll-back like any other.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use verger_engine::causes::Actor;
use verger_engine::image::{IMAGE_BYTES_MAX, Image};
use verger_engine::life::{Apply, CommandId, Decide, TrialNews};
use verger_engine::preview::NoPreview;
use verger_engine::time::Span;
use verger_engine::{Engine, Event};
use verger_linux::memory::{self, Mapping};
use verger_wire::message::{Changes, Error, LastTrial, Verdict, WatchReply};
use verger_wire::{place, view};

use crate::daemon::Daemon;
use crate::folder::Folder;
use crate::log::Log;
use crate::words;

/// How long everything that a change touches may take to arrive, where nobody says.
const WITHIN: Span = Span::from_secs(120);

/// The plan that was on trial when the daemon before this one broke, or was killed.
pub(crate) fn left_on_trial(folder: &Folder) -> Option<Image> {
    let file = std::fs::File::open(folder.join(place::TRIAL_FILE)).ok()?;
    let copy = memory::sealed_copy(c"verger-plan", file, IMAGE_BYTES_MAX as u64).ok()?;
    Image::verify(Arc::new(Mapping::new(&copy, IMAGE_BYTES_MAX as u64).ok()?)).ok()
}

/// What has become of a change, in the words of the moment: what a service is called may be forgotten in the same step.
pub(crate) struct ToldOfTrial {
    command: Option<CommandId>,
    news: TrialNews,
    verdict: Result<Verdict, Error>,
}

impl ToldOfTrial {
    pub(crate) fn new(engine: &Engine, log: &mut Log, command: Option<CommandId>, news: TrialNews) -> ToldOfTrial {
        log.tell(format_args!("{}", words::trial(engine, &news)));
        ToldOfTrial { command, news, verdict: view::verdict(engine, &news) }
    }
}

impl Daemon {
    /// What a plan would do.
    pub(crate) fn preview(&mut self, at: u32, from: Option<u64>) -> Result<Changes, Error> {
        let (_, image) = self.received_plan(at)?;
        match self.engine.preview(&image, from) {
            Ok(preview) => Ok(view::changes(&self.engine, &image, &preview)),
            Err(NoPreview::Refused(refusal)) => Err(view::refused_plan(&refusal)),
            Err(NoPreview::Uncopied(error)) => Err(Error::Internal { text: error.to_string() }),
        }
    }

    /// Puts a plan in force, on trial.
    pub(crate) fn apply(
        &mut self,
        at: u32,
        from: Option<u64>,
        within_ms: Option<u64>,
        confirm_ms: Option<u64>,
        (oneway, by): (bool, Actor),
    ) -> Result<(), Error> {
        let (file, image) = self.received_plan(at)?;
        let id = self.control.promise(at, image.name(), None, oneway);
        let arrive_by = self.now + within_ms.map_or(WITHIN, Span::from_millis);
        let confirm_within = confirm_ms.map(Span::from_millis);
        if self.engine.trial().is_none() {
            self.candidate = Some(file);
            let written = std::fs::write(self.folder.join(place::TRIAL_FILE), image.bytes());
            if let Err(error) = written {
                self.log.warn(format_args!("a daemon that breaks will not know what this plan has begun: {error}"));
            }
        }
        self.step(Event::Apply(Apply { id, image, from, by, arrive_by, confirm_within }));
        Ok(())
    }

    /// Keeps the change on trial, or rolls it back.
    pub(crate) fn decide(&mut self, at: u32, keep: bool, (oneway, by): (bool, Actor)) {
        let id = self.control.promise(at, "", None, oneway);
        self.step(Event::Decide(Decide { id, keep, by }));
    }

    /// Something has become of a change: whoever waits is told, and what goes with the plan in force follows it.
    pub(crate) fn hear_of_trial(&mut self, told: ToldOfTrial) {
        let ToldOfTrial { command, news, verdict } = told;
        // Who brought it and who decides about it hear the same; everybody else hears it once.
        let is_first = self.candidate.is_some();
        if let Ok(verdict) = &verdict
            && is_first
        {
            let news = WatchReply { verdict: Some(Box::new(verdict.clone())), ..WatchReply::default() };
            self.control.tell_onlookers(&news);
        }
        if let Some(command) = command {
            let mut bytes = Vec::new();
            match &verdict {
                Ok(verdict) => verger_wire::frame::write_reply(&mut bytes, verdict, false),
                Err(Error::Trial { on_trial: false, .. }) => {
                    let last = self.last_trial.clone().map(Box::new);
                    verger_wire::frame::write_error(&mut bytes, &Error::Trial { on_trial: false, last });
                }
                Err(error) => verger_wire::frame::write_error(&mut bytes, error),
            }
            self.control.keep_promise(command, bytes);
        }
        if !is_first {
            return;
        }
        if let (Ok(verdict), TrialNews::Kept | TrialNews::RolledBack(_)) = (verdict, news) {
            self.last_trial = Some(LastTrial { at_us: view::micros(self.now), verdict });
        }
        let trial = self.folder.join(place::TRIAL_FILE);
        match news {
            TrialNews::Kept => {
                if let Some(file) = self.candidate.take()
                    && let Err(errno) = self.again.take_plan(file)
                {
                    self.log.warn(format_args!("if this daemon breaks, it comes back with the plan before: {errno}"));
                }
                let _for_recordings = std::fs::rename(trial, self.folder.join(place::PLAN_FILE));
                self.begin_recording();
            }
            TrialNews::RolledBack(_) | TrialNews::Interrupted => {
                self.candidate = None;
                let _none_is_on_trial = std::fs::remove_file(trial);
                self.begin_recording();
            }
            // One that was refused beside another is none; of the other one the file stays.
            TrialNews::Refused(_) if self.engine.trial().is_none() => {
                self.candidate = None;
                let _none_is_on_trial = std::fs::remove_file(trial);
            }
            TrialNews::Refused(_) | TrialNews::Arrived { .. } | TrialNews::NothingOnTrial => {}
        }
    }

    /// The plan that came with a call.
    fn received_plan(&mut self, at: u32) -> Result<(OwnedFd, Image), Error> {
        let invalid = |expected: String| Error::Invalid { field: "plan".into(), expected };
        let file = self.control.take_descriptor(at);
        let file = file.ok_or_else(|| invalid("a compiled plan, passed as a descriptor with the call".into()))?;
        let unfit = |why: String| invalid(format!("a sealed memory file with a compiled plan ({why})"));
        let mapping = Mapping::new(&file, IMAGE_BYTES_MAX as u64).map_err(|error| unfit(error.to_string()))?;
        let image = Image::verify(Arc::new(mapping)).map_err(|error| unfit(error.to_string()))?;
        Ok((file, image))
    }
}
