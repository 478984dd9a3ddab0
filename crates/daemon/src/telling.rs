//! What the engine has done is told everybody who wants to know: the board, those who watch, those who asked, the log.

use verger_engine::Engine;
use verger_engine::life::{LifeEffect, Outcome};
use verger_wire::message::{Done, Switched, WatchReply};
use verger_wire::view;

use crate::budget::Shortened;
use crate::control::Control;
use crate::log::Log;
use crate::page::Page;
use crate::words;

/// Tells one effect.
pub(crate) fn tell(engine: &Engine, control: &mut Control, page: &mut Page, log: &mut Log, effect: &LifeEffect) {
    match effect {
        LifeEffect::Moved { service, link } => {
            page.put(engine, service.slot);
            // Whoever started us and holds our hand hears all of it, and tells it in its own way.
            let told_elsewhere = control.has_owner() && !log.is_talkative();
            if let Some((transition, _)) = engine.transition(*link)
                && !told_elsewhere
            {
                words::transition(log, engine, service.slot, &transition);
            }
            if control.is_watched(service.slot) {
                let (transition, service) = (view::transition(engine, *link), view::service(engine, service.slot));
                control.tell(link.slot, &WatchReply { transition, service, ..WatchReply::default() });
            }
        }
        LifeEffect::Changed { service } => {
            page.put(engine, service.slot);
            if control.is_watched(service.slot) {
                let news = WatchReply { service: view::service(engine, service.slot), ..WatchReply::default() };
                control.tell(service.slot, &news);
            }
        }
        LifeEffect::Answer { command, outcome } => {
            let Some((name, service)) = control.awaited(*command) else { return };
            let mut bytes = Vec::new();
            let refused = match service {
                Some(service) => view::answer(engine, name, service, outcome)
                    .map(|done| verger_wire::frame::write_reply::<Done>(&mut bytes, &done, false)),
                None => view::switched(engine, name, outcome)
                    .map(|switched| verger_wire::frame::write_reply::<Switched>(&mut bytes, &switched, false)),
            };
            if let Err(error) = refused {
                verger_wire::frame::write_error(&mut bytes, &error);
            }
            control.keep_promise(*command, bytes);
            if let Outcome::Busy = outcome {
                log.warn(format_args!("a command was refused: as many wait as there is room for"));
            }
        }
        LifeEffect::Planned { added, changed, removed } => {
            page.put_all(engine);
            page.put_groups(engine);
            log.tell(format_args!("plan: {added} services new, {changed} changed, {removed} gone"));
            for status in engine.services() {
                let slot = status.service.slot;
                if control.is_watched(slot) {
                    let news = WatchReply { service: view::service(engine, slot), ..WatchReply::default() };
                    control.tell(slot, &news);
                }
            }
        }
        LifeEffect::GroupMoved { group } => {
            page.put_group(engine, group.slot);
            let shown = (engine.group_status(group.slot), engine.group_description(group.slot));
            let (Some(status), Some(described)) = shown else { return };
            let name = view::target_name(described.name(), described.target(status.target).name());
            let without = view::without(&view::lacks(engine, group.slot));
            log.tell(format_args!("target {name}: {}{without}", status.phase));
            // With the names of all members, only where somebody hears them: what the switch starts comes after this.
            if control.has_onlookers()
                && let Some(group) = view::group(engine, group.slot)
            {
                control.tell_onlookers(&WatchReply { group: Some(Box::new(group)), ..WatchReply::default() });
            }
        }
        LifeEffect::TargetFailed { group, target, what } => {
            let Some(described) = engine.group_description(group.slot) else { return };
            let name = view::target_name(described.name(), described.target(*target).name());
            log.warn(format_args!("target {name} has failed: {}", words::target_failure(engine, what)));
            let failure = Some(view::target_failure(engine, what));
            control.tell_onlookers(&WatchReply { target_failed: Some(name), failure, ..WatchReply::default() });
        }
        LifeEffect::LastResort { group, step, what } => {
            let name = engine.group_description(group.slot).map_or("", |group| group.name());
            let of = if name.is_empty() { String::new() } else { format!(" of group {name}") };
            let words = view::last_step_in_words(engine, group.slot, u32::from(*step) - 1);
            let words = words.unwrap_or_else(|| what.word().to_owned());
            log.warn(format_args!("the fallback{of} has failed as often as it may; last resort, step {step}: {words}"));
        }
        LifeEffect::StepTaken { service, step, what } => {
            let name = engine.name(service.slot);
            let set = engine.recovery(service.slot).map_or("", |set| set.name());
            let of = if set == name { String::new() } else { format!(" of {set}") };
            let words = view::step_in_words(engine, service.slot, u32::from(*step) - 1);
            let words = words.unwrap_or_else(|| what.word().to_owned());
            log.warn(format_args!("{name} fails, and restarts do not help: step {step}{of}: {words}"));
        }
        LifeEffect::PlanRefused(refusal) => {
            log.warn(format_args!("the plan was not taken: {}", words::refusal(refusal)))
        }
        LifeEffect::Forgotten { service } => {
            let name = page.name(service.slot).map(|name| name.as_str().to_owned());
            page.clear(service.slot);
            control.tell(service.slot, &WatchReply { gone: name, ..WatchReply::default() });
        }
        LifeEffect::Fault { service, what } => {
            log.warn(format_args!("internal fault at `{}`: {what}; it is set to failed", engine.name(service.slot)));
        }
        LifeEffect::Shortened { needed, left } => {
            log.warn(format_args!("{}", Shortened { engine, needed: *needed, left: *left }));
            // What comes next for stops under way comes sooner now.
            engine.services().for_each(|status| page.put(engine, status.service.slot));
        }
        // What goes with the plan is the daemon's, and so is who waits for it.
        LifeEffect::Ended { .. } | LifeEffect::MeasurePressure | LifeEffect::Trial { .. } => {}
    }
}
