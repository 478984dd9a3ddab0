//! Runs written down and read back.

use super::*;
use crate::codec::{ReadError, Reader, Writer};
use crate::image::Image;

impl Runs {
    /// Writes everything down.
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        debug_assert!(self.outbox.is_empty(), "saved in the middle of a step");
        writer.number(self.next.0);
        self.scale.save(writer);
        for (id, image) in self.images.iter() {
            writer.small(u32::from(id.0) + 1);
            writer.number(image.digest());
        }
        writer.small(0);
        for (slot, run) in (0u32..).zip(&self.table) {
            let Some(run) = run else { continue };
            writer.small(slot + 1);
            save_run(run, writer);
            writer.moment(self.timers.get(slot));
        }
        writer.small(0);
    }

    /// Reads back what was written.
    pub(crate) fn restore(
        &mut self,
        reader: &mut Reader<'_>,
        image: &dyn Fn(u64) -> Option<Image>,
    ) -> Result<(), ReadError> {
        self.next = RunId(reader.number()?);
        self.scale = Scale::restore(reader)?;
        while let Some(place) = reader.small()?.checked_sub(1) {
            let digest = reader.number()?;
            let image = image(digest).ok_or(ReadError::MissingImage { digest })?;
            let id = ImageId(u8::try_from(place).map_err(|_| ReadError::BadValue { what: "an image" })?);
            self.images.put(id, image).ok_or(ReadError::BadValue { what: "an image" })?;
        }
        while let Some(slot) = reader.small()?.checked_sub(1) {
            let run = restore_run(reader, &self.images)?;
            let place = self.table.get_mut(slot as usize).ok_or(ReadError::BadValue { what: "a slot" })?;
            self.images.retain(run.home.image);
            *place = Some(run);
            self.live += 1;
            self.timers.set(slot, reader.moment()?);
        }
        Ok(())
    }
}

fn save_run(run: &Run, writer: &mut Writer<'_>) {
    writer.number(run.id.0);
    writer.small(run.generation);
    save_home(run.home, writer);
    writer.moment(run.ordered_at);
    writer.small(run.pid.map_or(0, |pid| pid.0));
    writer.number(run.started);
    writer.byte(run.containment.code());
    writer.yes(run.awaits_debugger);
    writer.small(run.exit.map_or(0, pack_exit));
    writer.yes(run.swept);
    writer.small(run.left.map_or(0, |pid| pid.0));
    match run.stage {
        Stage::Spawning => writer.byte(0),
        Stage::Recalled => writer.byte(1),
        Stage::Alive => writer.byte(2),
        Stage::Ending { step } => {
            writer.byte(3);
            writer.small(step);
        }
        Stage::Sweeping { until } => {
            writer.byte(4);
            writer.moment(until);
        }
        Stage::Draining { until, pause } => {
            writer.byte(5);
            writer.moment(until);
            writer.span(pause);
        }
        Stage::Killing { since, pause, told } => {
            writer.byte(6);
            writer.moment(since);
            writer.span(pause);
            writer.yes(told);
        }
    }
}

fn restore_run(reader: &mut Reader<'_>, images: &Images) -> Result<Run, ReadError> {
    Ok(Run {
        id: RunId(reader.number()?),
        generation: reader.small()?,
        home: restore_home(reader, images)?,
        ordered_at: reader.moment()?,
        pid: some_pid(reader.small()?),
        started: reader.number()?,
        containment: reader.coded(Containment::from_code, "a containment")?,
        awaits_debugger: reader.yes()?,
        exit: unpack_exit(reader.small()?),
        swept: reader.yes()?,
        left: some_pid(reader.small()?),
        stage: match reader.byte()? {
            0 => Stage::Spawning,
            1 => Stage::Recalled,
            2 => Stage::Alive,
            3 => Stage::Ending { step: reader.small()? },
            4 => Stage::Sweeping { until: reader.moment()? },
            5 => Stage::Draining { until: reader.moment()?, pause: reader.span()? },
            6 => Stage::Killing { since: reader.moment()?, pause: reader.span()?, told: reader.yes()? },
            _ => return Err(ReadError::BadValue { what: "a stage" }),
        },
    })
}

/// Writes where something is described.
pub(crate) fn save_home(home: Home, writer: &mut Writer<'_>) {
    writer.byte(home.image.0);
    writer.small(home.record);
}

/// Reads where something is described; the image must be held and have the record.
pub(crate) fn restore_home(reader: &mut Reader<'_>, images: &Images) -> Result<Home, ReadError> {
    let image = ImageId(reader.byte()?);
    let records = images.get(image).ok_or(ReadError::BadValue { what: "an image" })?.len();
    Ok(Home { image, record: reader.below(records, "a record")? })
}

/// A stored pid; 0 is none.
pub(crate) fn some_pid(number: u32) -> Option<Pid> {
    (number != 0).then_some(Pid(number))
}
