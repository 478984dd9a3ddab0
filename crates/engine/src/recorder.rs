//! A recording: one saved state and the events after it, as bytes.
//!
//! Whoever drives the engine writes each event down before it steps ([`record`]); a recording that has grown by its bound
//! begins anew with the state of that moment. Reading it back ([`Recording`]) gives the engine as it was saved and then the
//! events, each with its time; stepping through them ends where the recorded engine ended, effect by effect.
//!
//! Images are named by their digests. Who keeps a recording for later keeps the images with it.

use crate::budget::Patience;
use crate::causes::Actor;
use crate::codec::{ReadError, Reader, Sink, Writer};
use crate::engine::Engine;
use crate::event::Event;
use crate::image::Image;
use crate::life::{Apply, CommandId, Decide, FaultKind, FoundGroup, GroupId, GroupPhase, Pressure, Scope, Switch};
use crate::life::{restore_request, restore_service, save_request, save_service};
use crate::runs::{
    Containment, Pid, RunEvent, RunId, RunRef, StartFailure, Usage, pack_exit, pack_failure, some_pid, unpack_exit,
    unpack_failure,
};
use crate::time::Moment;

/// What a recording begins with.
const MAGIC: &[u8; 8] = b"vrgr-rec";

/// Begins a recording with the engine's present state.
pub fn begin(engine: &Engine, sink: &mut dyn Sink) {
    sink.put(MAGIC);
    engine.save(sink);
}

/// Writes one event down. `before` is the time of the event before it (or of the saved state): times are kept as differences.
pub fn record(before: Moment, now: Moment, event: &Event, sink: &mut dyn Sink) {
    let mut writer = Writer::new(sink);
    writer.span(now.since(before));
    match event {
        Event::Run(event) => save_run_event(event, &mut writer),
        Event::Plan { image, scope, by } => {
            writer.byte(10);
            writer.number(image.digest());
            writer.byte(match scope {
                Scope::Whole => 0,
                Scope::Found => 2,
                Scope::Back => 3,
            });
            save_actor(by, &mut writer);
        }
        Event::Command(request) => {
            writer.byte(11);
            save_request(request, &mut writer);
        }
        Event::Shutdown { signal, by, patience } => {
            writer.byte(12);
            writer.byte(*signal);
            save_actor(by, &mut writer);
            patience.save(&mut writer);
        }
        Event::Tick => writer.byte(13),
        Event::Fault { service, what } => {
            writer.byte(14);
            save_service(*service, &mut writer);
            writer.byte(what.code());
        }
        Event::Found(found) => {
            writer.byte(15);
            found.save(&mut writer);
        }
        Event::Resume => writer.byte(16),
        Event::Switch(switch) => {
            writer.byte(17);
            writer.number(switch.id.0);
            save_group(switch.group, &mut writer);
            writer.small(switch.target);
            save_actor(&switch.by, &mut writer);
            writer.moment(switch.deadline);
            writer.wide(switch.key);
        }
        Event::Apply(apply) => {
            writer.byte(19);
            writer.number(apply.id.0);
            writer.number(apply.image.digest());
            writer.yes(apply.from.is_some());
            if let Some(from) = apply.from {
                writer.number(from);
            }
            writer.moment(apply.arrive_by);
            writer.yes(apply.confirm_within.is_some());
            if let Some(confirm_within) = apply.confirm_within {
                writer.span(confirm_within);
            }
            save_actor(&apply.by, &mut writer);
        }
        Event::Decide(decide) => {
            writer.byte(20);
            writer.number(decide.id.0);
            writer.yes(decide.keep);
            save_actor(&decide.by, &mut writer);
        }
        Event::FoundGroup { group, found: FoundGroup { target, phase, since, failures } } => {
            writer.byte(18);
            save_group(*group, &mut writer);
            writer.small(*target);
            writer.small(*failures);
            writer.byte(phase.code());
            writer.moment(*since);
        }
        Event::Pressure(pressure) => {
            writer.byte(21);
            pressure.save(&mut writer);
        }
    }
}

/// A recording being read.
#[derive(Clone, Debug)]
pub struct Recording<'b> {
    reader: Reader<'b>,
    now: Moment,
}

impl<'b> Recording<'b> {
    /// Reads the state a recording begins with. `image` finds an image by its digest.
    ///
    /// # Errors
    /// If the bytes are no recording, or of another version, or an image is not at hand.
    pub fn open(bytes: &'b [u8], image: &dyn Fn(u64) -> Option<Image>) -> Result<(Engine, Recording<'b>), ReadError> {
        let bytes = bytes.strip_prefix(MAGIC).ok_or(ReadError::BadValue { what: "the beginning" })?;
        let (engine, rest) = Engine::restore_from(bytes, image)?;
        let now = engine.now();
        Ok((engine, Recording { reader: Reader::new(rest), now }))
    }

    /// The next event and its time; `None` at the end.
    ///
    /// # Errors
    /// If the bytes are cut in the middle of an event (the daemon's end can do that), or damaged.
    pub fn next_event(&mut self, image: &dyn Fn(u64) -> Option<Image>) -> Result<Option<(Moment, Event)>, ReadError> {
        if self.reader.rest().is_empty() {
            return Ok(None);
        }
        self.now = self.now + self.reader.span()?;
        let event = restore_event(&mut self.reader, image)?;
        Ok(Some((self.now, event)))
    }
}

fn restore_event(reader: &mut Reader<'_>, image: &dyn Fn(u64) -> Option<Image>) -> Result<Event, ReadError> {
    let bad = |what| ReadError::BadValue { what };
    Ok(match reader.byte()? {
        kind @ 0..10 => Event::Run(restore_run_event(kind, reader)?),
        10 => {
            let digest = reader.number()?;
            let image = image(digest).ok_or(ReadError::MissingImage { digest })?;
            let scope = match reader.byte()? {
                0 => Scope::Whole,
                2 => Scope::Found,
                3 => Scope::Back,
                _ => return Err(bad("a scope")),
            };
            Event::Plan { image, scope, by: restore_actor(reader)? }
        }
        11 => Event::Command(restore_request(reader)?),
        12 => {
            Event::Shutdown { signal: reader.byte()?, by: restore_actor(reader)?, patience: Patience::restore(reader)? }
        }
        13 => Event::Tick,
        14 => {
            let service = restore_service(reader)?;
            Event::Fault { service, what: reader.coded(FaultKind::from_code, "a fault")? }
        }
        15 => Event::Found(crate::life::Found::restore(reader)?),
        16 => Event::Resume,
        17 => Event::Switch(Switch {
            id: CommandId(reader.number()?),
            group: restore_group(reader)?,
            target: reader.small()?,
            by: restore_actor(reader)?,
            deadline: reader.moment()?,
            key: reader.wide()?,
        }),
        18 => Event::FoundGroup {
            group: restore_group(reader)?,
            found: FoundGroup {
                target: reader.small()?,
                failures: reader.small()?,
                phase: reader.coded(GroupPhase::from_code, "a phase of a group")?,
                since: reader.moment()?,
            },
        },
        19 => {
            let id = CommandId(reader.number()?);
            let digest = reader.number()?;
            let image = image(digest).ok_or(ReadError::MissingImage { digest })?;
            let from = if reader.yes()? { Some(reader.number()?) } else { None };
            let arrive_by = reader.moment()?;
            let confirm_within = if reader.yes()? { Some(reader.span()?) } else { None };
            Event::Apply(Apply { id, image, from, arrive_by, confirm_within, by: restore_actor(reader)? })
        }
        20 => {
            Event::Decide(Decide { id: CommandId(reader.number()?), keep: reader.yes()?, by: restore_actor(reader)? })
        }
        21 => Event::Pressure(Pressure::restore(reader)?),
        _ => return Err(bad("an event")),
    })
}

fn save_run_event(event: &RunEvent, writer: &mut Writer<'_>) {
    let run = |kind: u8, writer: &mut Writer<'_>| {
        writer.byte(kind);
        save_service(event.run().service, writer);
        writer.number(event.run().run.0);
    };
    match event {
        RunEvent::Spawned { pid, started, containment, .. } => {
            run(0, writer);
            writer.small(pid.0);
            writer.number(*started);
            writer.byte(containment.code());
        }
        RunEvent::SpawnFailed { failure, .. } => {
            run(1, writer);
            writer.small(pack_failure(*failure));
        }
        RunEvent::Ready { .. } => run(2, writer),
        RunEvent::Exited { exit, usage, .. } => {
            run(3, writer);
            writer.small(pack_exit(*exit));
            for number in [usage.user_us, usage.system_us, usage.resident_max_kib] {
                writer.number(number);
            }
        }
        RunEvent::Swept { left, .. } => {
            run(4, writer);
            writer.small(left.map_or(0, |pid| pid.0));
        }
        RunEvent::Loosened { containment, .. } => {
            run(5, writer);
            writer.byte(containment.code());
        }
        RunEvent::Continued { .. } => run(6, writer),
    }
}

fn restore_run_event(kind: u8, reader: &mut Reader<'_>) -> Result<RunEvent, ReadError> {
    let run = RunRef { service: restore_service(reader)?, run: RunId(reader.number()?) };
    Ok(match kind {
        0 => RunEvent::Spawned {
            run,
            pid: Pid(reader.small()?),
            started: reader.number()?,
            containment: reader.coded(Containment::from_code, "a containment")?,
        },
        1 => RunEvent::SpawnFailed { run, failure: restore_failure(reader)? },
        2 => RunEvent::Ready { run },
        3 => {
            let exit = unpack_exit(reader.small()?).ok_or(ReadError::BadValue { what: "an exit" })?;
            let (user_us, system_us) = (reader.number()?, reader.number()?);
            let usage = Usage { user_us, system_us, resident_max_kib: reader.number()? };
            RunEvent::Exited { run, exit, usage }
        }
        4 => RunEvent::Swept { run, left: some_pid(reader.small()?) },
        5 => RunEvent::Loosened { run, containment: reader.coded(Containment::from_code, "a containment")? },
        6 => RunEvent::Continued { run },
        _ => return Err(ReadError::BadValue { what: "an event" }),
    })
}

fn restore_failure(reader: &mut Reader<'_>) -> Result<StartFailure, ReadError> {
    unpack_failure(reader.small()?).ok_or(ReadError::BadValue { what: "a failed start" })
}

fn save_actor(by: &Actor, writer: &mut Writer<'_>) {
    writer.small(by.uid);
    writer.small(by.pid);
}

fn restore_actor(reader: &mut Reader<'_>) -> Result<Actor, ReadError> {
    Ok(Actor { uid: reader.small()?, pid: reader.small()? })
}

fn save_group(group: GroupId, writer: &mut Writer<'_>) {
    writer.small(group.slot);
    writer.small(group.generation);
}

fn restore_group(reader: &mut Reader<'_>) -> Result<GroupId, ReadError> {
    Ok(GroupId { slot: reader.small()?, generation: reader.small()? })
}
