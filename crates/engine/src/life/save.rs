//! The lifecycle written down and read back.

use super::closing::Haste;
use super::command::{Entry, EntryState, Remembered};
use super::groups::{Caller, Course, Group, GroupPhase, TargetFailure, group_view};
use super::pace::{Hold, Pressure, Resource};
use super::phase::{Asked, Because, Failure, FaultKind, LastOrder, Phase, PhaseKind, Sequel, Verb, Want};
use super::trial::{Trial, TrialStage};
use super::{AskedBefore, Bare, CommandId, END, Life, Mode, Outcome, Request, Slot, UNLISTED, Why};
use crate::budget::Budget;
use crate::causes::{Actor, Cause, RootId, restore_root_kind, save_root_kind};
use crate::codec::{ReadError, Reader, Writer};
use crate::image::{Limits, RecoveryScope};
use crate::images::{Home, ImageId};
use crate::runs::{
    RunId, Runs, ServiceId, pack_exit, pack_failure, restore_home, save_home, some_pid, unpack_exit, unpack_failure,
};
use crate::time::Span;

fn bad(what: &'static str) -> ReadError {
    ReadError::BadValue { what }
}

impl Life {
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Writes everything down.
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        debug_assert!(self.first_ripe == END && self.outbox.is_empty(), "saved in the middle of a step");
        debug_assert!(
            self.commands.first_answered == END && self.found_fault.is_none(),
            "saved in the middle of a step"
        );
        writer.number(self.event);
        writer.small(self.walks);
        match self.mode {
            Mode::Serving => writer.byte(0),
            Mode::Closing { status, haste, budget } => {
                writer.byte(1);
                writer.byte(status);
                writer.byte(haste.code());
                writer.yes(budget.is_some());
                if let Some(budget) = budget {
                    budget.save(writer);
                }
                writer.moment(self.timers.get(self.end_key()));
            }
            Mode::Ended => writer.byte(2),
            Mode::Finding => writer.byte(3),
        }
        self.roots.save(writer);
        writer.small(self.slots.len() as u32);
        for (at, slot) in (0u32..).zip(&self.slots) {
            save_slot(slot, writer);
            writer.moment(self.timers.get(at));
            self.journal.save(at, writer);
        }
        writer.small(self.by_name.len() as u32);
        for slot in &self.by_name {
            writer.small(*slot);
        }
        self.graph.save(writer);
        self.save_pace(writer);
        writer.small(self.groups.places.len() as u32);
        for (at, group) in (0u32..).zip(&self.groups.places) {
            save_group(group, writer);
            writer.moment(self.timers.get(self.group_key(at)));
        }
        self.save_trial(writer);
        writer.small(self.commands.free);
        writer.small(self.commands.entries.len() as u32);
        for (at, entry) in (0u32..).zip(&self.commands.entries) {
            save_entry(entry, writer);
            writer.moment(self.timers.get(self.limits.services + at));
        }
        writer.small(self.commands.remembered_at);
        writer.small(self.commands.remembered.len() as u32);
        for old in &self.commands.remembered {
            writer.wide(old.key);
            writer.byte(old.verb.code());
            save_service(old.service, writer);
            writer.number(old.before.0);
            save_outcome(&old.outcome, writer);
        }
    }

    /// Reads back what was written, into a lifecycle made with the same limits.
    pub(crate) fn restore(&mut self, reader: &mut Reader<'_>, runs: &mut Runs) -> Result<(), ReadError> {
        self.event = reader.number()?;
        self.walks = reader.small()?;
        self.mode = match reader.byte()? {
            0 => Mode::Serving,
            1 => {
                let (status, haste) = (reader.byte()?, reader.coded(Haste::from_code, "a haste")?);
                let budget = if reader.yes()? { Some(Budget::restore(reader)?) } else { None };
                self.timers.set(self.end_key(), reader.moment()?);
                Mode::Closing { status, haste, budget }
            }
            2 => Mode::Ended,
            3 => Mode::Finding,
            _ => return Err(bad("a mode")),
        };
        self.roots.restore(reader)?;
        let slots = reader.small()?;
        if slots > self.limits.services {
            return Err(bad("the number of slots"));
        }
        for at in 0..slots {
            let slot = restore_slot(reader, runs, slots)?;
            if let Some(home) = slot.home {
                runs.images_mut().retain(home.image);
            }
            self.stuck += u32::from(slot.phase.kind() == PhaseKind::Stuck);
            self.arriving += u32::from(slot.phase.kind().is_arriving());
            self.pace.starting += u32::from(slot.has_place);
            self.pace.queue.set(at, slot.phase.turn());
            self.slots.push(slot);
            self.timers.set(at, reader.moment()?);
            self.journal.restore(at, reader)?;
        }
        let named = reader.small()?;
        for _ in 0..named.min(slots) {
            self.by_name.push(reader.below(slots, "a slot")?);
        }
        let has_graph = self.graph.restore(reader, slots)?;
        self.restore_pace(reader)?;
        self.restore_groups(reader, runs)?;
        self.restore_trial(reader, runs)?;
        self.restore_commands(reader)?;
        // Numbers may be sound and yet not fit together: then whoever made them was not a save.
        let homes_fit = self.slots.iter().filter(|slot| slot.home.is_some()).count() == self.by_name.len();
        let lists_fit = self
            .slots
            .iter()
            .all(|slot| self.commands.entries.get(slot.first_command as usize).is_some() || slot.first_command == END);
        if named > slots || !homes_fit || !lists_fit || !self.sets_fit() {
            return Err(bad("the state"));
        }
        if has_graph {
            return Ok(());
        }
        let described = self.slots.iter().filter_map(|slot| Some(runs.images().service(slot.home?).edges().count()));
        if described.sum::<usize>() > self.graph.room() {
            return Err(bad("the number of edges"));
        }
        self.rebuild_graph(runs.images());
        Ok(())
    }

    fn save_pace(&self, writer: &mut Writer<'_>) {
        let pace = &self.pace;
        writer.small(pace.max);
        pace.limits.iter().for_each(|limit| writer.byte(*limit));
        writer.span(pace.wait_max);
        pace.pressure.save(writer);
        writer.moment(pace.holds_until);
        writer.yes(pace.is_asked);
        writer.moment(self.timers.get(self.pace_key()));
    }

    fn restore_pace(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        self.pace.max = reader.small()?;
        for limit in &mut self.pace.limits {
            *limit = reader.byte()?;
        }
        self.pace.wait_max = reader.span()?;
        self.pace.pressure = Pressure::restore(reader)?;
        self.pace.holds_until = reader.moment()?;
        self.pace.is_asked = reader.yes()?;
        self.timers.set(self.pace_key(), reader.moment()?);
        Ok(())
    }

    /// Whether each recovery set is one list without an end that leads back into it.
    fn sets_fit(&self) -> bool {
        let mut followed = alloc::vec![false; self.slots.len()];
        for slot in self.slots.iter().filter(|slot| slot.mate != END) {
            let Some(mate) = self.slots.get(slot.mate as usize).filter(|mate| mate.lead == slot.lead) else {
                return false;
            };
            let seen = core::mem::replace(&mut followed[slot.mate as usize], true);
            if seen || slot.mate == mate.lead {
                return false;
            }
        }
        true
    }

    fn restore_groups(&mut self, reader: &mut Reader<'_>, runs: &mut Runs) -> Result<(), ReadError> {
        let groups = reader.small()?;
        if groups > self.limits.groups {
            return Err(bad("the number of groups"));
        }
        for at in 0..groups {
            let group = restore_group(reader, runs)?;
            if let Some(home) = group.home {
                runs.images_mut().retain(home.image);
            }
            self.groups.places.push(group);
            self.timers.set(self.group_key(at), reader.moment()?);
        }
        let fits = |group: u32| group == END || group < groups;
        let all_fit = self.slots.iter().all(|slot| fits(slot.group) && fits(slot.leaves));
        if all_fit { Ok(()) } else { Err(bad("a group")) }
    }

    fn save_trial(&self, writer: &mut Writer<'_>) {
        save_image(self.plan, writer);
        writer.yes(self.trial.is_some());
        let Some(trial) = &self.trial else { return };
        save_image(trial.former, writer);
        writer.small(trial.root.0);
        writer.byte(trial.stage.code());
        writer.yes(trial.confirm_within.is_some());
        writer.span(trial.confirm_within.unwrap_or(Span::ZERO));
        writer.yes(trial.caller.is_some());
        writer.number(trial.caller.map_or(0, |caller| caller.0));
        writer.small(trial.at);
        // It is ripe between steps while a group is on its way.
        writer.yes(trial.ripe);
        writer.small(self.groups.before.len() as u32);
        for (record, target) in &self.groups.before {
            writer.small(*record);
            writer.small(*target);
        }
        writer.moment(self.timers.get(self.trial_key()));
    }

    fn restore_trial(&mut self, reader: &mut Reader<'_>, runs: &mut Runs) -> Result<(), ReadError> {
        self.plan = restore_image(reader, runs)?;
        if !reader.yes()? {
            return Ok(());
        }
        self.trial = Some(Trial {
            former: restore_image(reader, runs)?,
            root: RootId(reader.small()?),
            stage: reader.coded(TrialStage::from_code, "a stage")?,
            confirm_within: maybe(reader.yes()?, reader.span()?),
            caller: maybe(reader.yes()?, CommandId(reader.number()?)),
            at: reader.small()?,
            trouble: None,
            ripe: reader.yes()?,
        });
        let noted = reader.small()?;
        if noted > self.limits.groups {
            return Err(bad("the number of groups"));
        }
        for _ in 0..noted {
            self.groups.before.push((reader.small()?, reader.small()?));
        }
        self.timers.set(self.trial_key(), reader.moment()?);
        Ok(())
    }

    fn restore_commands(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        self.commands.free = reader.small()?;
        let entries = reader.small()?;
        if entries > self.limits.commands {
            return Err(bad("the number of commands"));
        }
        for at in 0..entries {
            let entry = restore_entry(reader)?;
            self.commands.entries.push(entry);
            self.timers.set(self.limits.services + at, reader.moment()?);
        }
        self.commands.remembered_at = reader.small()?;
        let remembered = reader.small()?;
        if remembered as usize > self.commands.remembered.capacity() || self.commands.remembered_at > remembered {
            return Err(bad("the number of answers"));
        }
        for _ in 0..remembered {
            self.commands.remembered.push(Remembered {
                key: reader.wide()?,
                verb: reader.coded(Verb::from_code, "a verb")?,
                service: restore_service(reader)?,
                before: RunId(reader.number()?),
                outcome: restore_outcome(reader)?,
            });
        }
        Ok(())
    }
}

/// What was written of something that need not be there.
fn maybe<T>(is_there: bool, value: T) -> Option<T> {
    is_there.then_some(value)
}

/// The place of an image, if there is one.
fn save_image(image: Option<ImageId>, writer: &mut Writer<'_>) {
    writer.yes(image.is_some());
    writer.byte(image.map_or(0, |image| image.0));
}

/// Reads it back, and is one of its users.
fn restore_image(reader: &mut Reader<'_>, runs: &mut Runs) -> Result<Option<ImageId>, ReadError> {
    let (is_some, image) = (reader.yes()?, ImageId(reader.byte()?));
    if !is_some {
        return Ok(None);
    }
    runs.images().get(image).ok_or(bad("an image"))?;
    runs.images_mut().retain(image);
    Ok(Some(image))
}

impl Pressure {
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        for share in [self.memory, self.cpu, self.io] {
            writer.small(share.map_or(0, |share| u32::from(share) + 1));
        }
    }

    pub(crate) fn restore(reader: &mut Reader<'_>) -> Result<Pressure, ReadError> {
        let mut share = || {
            let share = reader.small()?.checked_sub(1).map(u16::try_from);
            share.transpose().map_err(|_| bad("a pressure"))
        };
        Ok(Pressure { memory: share()?, cpu: share()?, io: share()? })
    }
}

fn save_slot(slot: &Slot, writer: &mut Writer<'_>) {
    writer.small(slot.generation);
    writer.yes(slot.home.is_some());
    if let Some(home) = slot.home {
        save_home(home, writer);
    }
    writer.byte(slot.asked.code());
    writer.byte(slot.want.code());
    writer.small(slot.pulled);
    let (cause, x, y) = slot.why.cause.pack();
    writer.byte(cause);
    writer.small(x);
    writer.small(y);
    writer.small(slot.why.root.0);
    save_phase(&slot.phase, writer);
    writer.moment(slot.since);
    writer.number(slot.run.0);
    writer.moment(slot.began);
    writer.yes(slot.set);
    writer.small(slot.failures);
    writer.small(slot.start_failures);
    writer.small(slot.start_retries);
    writer.yes(slot.spawned);
    writer.yes(slot.was_ready);
    writer.yes(slot.has_place);
    writer.moment(slot.window_from);
    writer.small(slot.window_restarts);
    writer.small(slot.restarts);
    writer.small(slot.lead);
    writer.small(slot.mate);
    writer.byte(slot.scope.code());
    writer.byte(slot.steps);
    save_sequel(slot.sequel, writer);
    writer.yes(slot.ignored);
    writer.small(slot.last_exit.map_or(0, pack_exit));
    save_last_order(slot.last_order, writer);
    writer.yes(slot.taken);
    writer.small(slot.group);
    writer.small(slot.leaves);
    writer.yes(slot.comes);
    writer.small(slot.first_command);
    writer.small(slot.mark);
    writer.yes(slot.touched);
    writer.byte(slot.before.asked.code());
    writer.yes(slot.before.taken);
}

fn restore_slot(reader: &mut Reader<'_>, runs: &Runs, slots: u32) -> Result<Slot, ReadError> {
    let generation = reader.small()?;
    let home = if reader.yes()? { Some(restore_home(reader, runs.images())?) } else { None };
    Ok(Slot {
        generation,
        home,
        asked: reader.coded(Asked::from_code, "what is asked")?,
        want: reader.coded(Want::from_code, "a want")?,
        pulled: reader.small()?,
        why: Why {
            cause: Cause::unpack(reader.byte()?, reader.small()?, reader.small()?).ok_or(bad("a cause"))?,
            root: RootId(reader.small()?),
        },
        phase: restore_phase(reader, slots)?,
        since: reader.moment()?,
        run: RunId(reader.number()?),
        began: reader.moment()?,
        position: home.map_or(0, |home| runs.images().service(home).position()),
        one_shot: home.is_some_and(|home| runs.images().service(home).ready().is_one_shot()),
        bare: home.and_then(|home| Bare::of(runs.images().service(home).ready())),
        set: reader.yes()?,
        follow: None,
        followed: 0,
        failures: reader.small()?,
        start_failures: reader.small()?,
        start_retries: reader.small()?,
        spawned: reader.yes()?,
        was_ready: reader.yes()?,
        has_place: reader.yes()?,
        window_from: reader.moment()?,
        window_restarts: reader.small()?,
        restarts: reader.small()?,
        lead: reader.below(slots, "a slot")?,
        mate: reader.small()?,
        scope: reader.coded(RecoveryScope::from_code, "a scope")?,
        steps: reader.byte()?,
        sequel: restore_sequel(reader)?,
        ignored: reader.yes()?,
        last_exit: unpack_exit(reader.small()?),
        last_order: restore_last_order(reader)?,
        taken: reader.yes()?,
        group: reader.small()?,
        leaves: reader.small()?,
        comes: reader.yes()?,
        first_command: reader.small()?,
        next_ripe: UNLISTED,
        mark: reader.small()?,
        redescribed: false,
        rewrites: false,
        tried_in_vain: false,
        touched: reader.yes()?,
        before: AskedBefore { asked: reader.coded(Asked::from_code, "what was asked")?, taken: reader.yes()? },
    })
}

/// The code of a phase that is told as `waiting`.
const QUEUED: u8 = 128;
/// In the place of a resource: it is waited for being set.
const UNSET: u8 = 255;

fn save_phase(phase: &Phase, writer: &mut Writer<'_>) {
    // What is `waiting` for everybody else is one of two things.
    writer.byte(if phase.hold().is_some() { QUEUED } else { phase.kind().code() });
    match *phase {
        Phase::Queued { turn, until, hold } => {
            writer.number(turn);
            writer.moment(until);
            writer.byte(match hold {
                Hold::Turn => 0,
                Hold::Pressure(resource) => resource.code(),
                Hold::Unset => UNSET,
            });
        }
        Phase::Down | Phase::Running | Phase::Done => {}
        Phase::Waiting { on, edge, look_at } => {
            writer.small(on);
            writer.small(edge);
            writer.moment(look_at);
        }
        Phase::Blocked { on, edge } | Phase::Held { on, edge } => {
            writer.small(on);
            writer.small(edge);
        }
        Phase::Starting { ready_by, alive_at } => {
            writer.moment(ready_by);
            writer.moment(alive_at);
        }
        Phase::Stopping { because } => writer.byte(because.code()),
        Phase::Stuck { because, who } => {
            writer.byte(because.code());
            writer.small(who.map_or(0, |pid| pid.0));
        }
        Phase::Resting { until } => writer.moment(until),
        Phase::Failed(failure) => save_failure(failure, writer),
    }
}

fn restore_phase(reader: &mut Reader<'_>, slots: u32) -> Result<Phase, ReadError> {
    let because = |reader: &mut Reader<'_>| reader.coded(Because::from_code, "a reason");
    let code = reader.byte()?;
    if code == QUEUED {
        let (turn, until, of) = (reader.number()?, reader.moment()?, reader.byte()?);
        let hold = match of {
            0 => Hold::Turn,
            UNSET => Hold::Unset,
            code => Hold::Pressure(Resource::from_code(code).ok_or(bad("a resource"))?),
        };
        return Ok(Phase::Queued { turn, until, hold });
    }
    Ok(match PhaseKind::from_code(code).ok_or(bad("a phase"))? {
        PhaseKind::Down => Phase::Down,
        PhaseKind::Running => Phase::Running,
        PhaseKind::Done => Phase::Done,
        PhaseKind::Waiting => {
            Phase::Waiting { on: reader.below(slots, "a slot")?, edge: reader.small()?, look_at: reader.moment()? }
        }
        PhaseKind::Blocked => Phase::Blocked { on: reader.below(slots, "a slot")?, edge: reader.small()? },
        PhaseKind::Held => Phase::Held { on: reader.below(slots, "a slot")?, edge: reader.small()? },
        PhaseKind::Starting => Phase::Starting { ready_by: reader.moment()?, alive_at: reader.moment()? },
        PhaseKind::Stopping => Phase::Stopping { because: because(reader)? },
        PhaseKind::Stuck => Phase::Stuck { because: because(reader)?, who: some_pid(reader.small()?) },
        PhaseKind::Resting => Phase::Resting { until: reader.moment()? },
        PhaseKind::Failed => Phase::Failed(restore_failure(reader)?),
    })
}

fn save_group(group: &Group, writer: &mut Writer<'_>) {
    writer.small(group.generation);
    writer.yes(group.home.is_some());
    if let Some(home) = group.home {
        save_home(home, writer);
    }
    writer.byte(group.phase.code());
    for number in [group.target, group.root.0, group.leaving, group.at, group.on, group.failed, group.failures] {
        writer.small(number);
    }
    writer.moment(group.since);
    writer.moment(group.until);
    writer.yes(group.caller.is_some());
    if let Some(caller) = group.caller {
        writer.number(caller.id.0);
        writer.wide(caller.key);
        writer.moment(caller.deadline);
    }
    writer.yes(group.answered.is_some());
    if let Some((key, outcome)) = group.answered {
        writer.wide(key);
        save_outcome(&outcome, writer);
    }
    let (cause, x, y) = group.cause.pack();
    writer.byte(cause);
    writer.small(x);
    writer.small(y);
    writer.byte(group.course.code());
    writer.yes(group.sets_out);
}

fn restore_group(reader: &mut Reader<'_>, runs: &Runs) -> Result<Group, ReadError> {
    let generation = reader.small()?;
    let home = if reader.yes()? { Some(restore_place(reader, runs)?) } else { None };
    let phase = reader.coded(GroupPhase::from_code, "a phase of a group")?;
    let mut numbers = [0; 7];
    for number in &mut numbers {
        *number = reader.small()?;
    }
    let [target, root, leaving, at, on, failed, failures] = numbers;
    let is_target = |home: Home| target < group_view(runs.images(), home).target_count();
    if !home.is_none_or(is_target) {
        return Err(bad("a target"));
    }
    Ok(Group {
        generation,
        home,
        phase,
        target,
        root: RootId(root),
        since: reader.moment()?,
        until: reader.moment()?,
        leaving,
        at,
        on,
        failed,
        failures,
        caller: match reader.yes()? {
            true => {
                let (id, key, deadline) = (CommandId(reader.number()?), reader.wide()?, reader.moment()?);
                Some(Caller { id, key, deadline, overtaken: false })
            }
            false => None,
        },
        answered: if reader.yes()? { Some((reader.wide()?, restore_outcome(reader)?)) } else { None },
        cause: Cause::unpack(reader.byte()?, reader.small()?, reader.small()?).ok_or(bad("a cause"))?,
        course: reader.coded(Course::from_code, "a course")?,
        sets_out: reader.yes()?,
        ripe: false,
    })
}

/// Where a group is described.
fn restore_place(reader: &mut Reader<'_>, runs: &Runs) -> Result<Home, ReadError> {
    let home = Home { image: ImageId(reader.byte()?), record: reader.small()? };
    let image = runs.images().get(home.image).ok_or(bad("an image"))?;
    if home.record < image.group_count() { Ok(home) } else { Err(bad("a group")) }
}

pub(super) fn save_failure(failure: Failure, writer: &mut Writer<'_>) {
    let (kind, value) = match failure {
        Failure::GaveUp { restarts } => (0, restarts),
        Failure::Start(failure) => (1, pack_failure(failure)),
        Failure::Exited => (2, 0),
        Failure::NotReady => (3, 0),
        Failure::Internal(what) => (4, u32::from(what.code())),
    };
    writer.byte(kind);
    writer.small(value);
}

pub(super) fn restore_failure(reader: &mut Reader<'_>) -> Result<Failure, ReadError> {
    let (kind, value) = (reader.byte()?, reader.small()?);
    Ok(match kind {
        0 => Failure::GaveUp { restarts: value },
        1 => Failure::Start(unpack_failure(value).ok_or(bad("a failed start"))?),
        2 => Failure::Exited,
        3 => Failure::NotReady,
        4 => Failure::Internal(u8::try_from(value).ok().and_then(FaultKind::from_code).ok_or(bad("a fault"))?),
        _ => return Err(bad("a failure")),
    })
}

pub(super) fn save_last_order(order: LastOrder, writer: &mut Writer<'_>) {
    match order {
        LastOrder::Stop => writer.byte(0),
        LastOrder::Restart => writer.byte(1),
        LastOrder::Shutdown => writer.byte(2),
        LastOrder::StartFailed(failure) => {
            writer.byte(3);
            writer.small(pack_failure(failure));
        }
    }
}

pub(super) fn restore_last_order(reader: &mut Reader<'_>) -> Result<LastOrder, ReadError> {
    Ok(match reader.byte()? {
        0 => LastOrder::Stop,
        1 => LastOrder::Restart,
        2 => LastOrder::Shutdown,
        3 => LastOrder::StartFailed(unpack_failure(reader.small()?).ok_or(bad("a failed start"))?),
        _ => return Err(bad("an order")),
    })
}

fn save_entry(entry: &Entry, writer: &mut Writer<'_>) {
    writer.yes(entry.state == EntryState::Waiting);
    writer.small(entry.next);
    if entry.state == EntryState::Waiting {
        save_request(&entry.request, writer);
        writer.number(entry.before.0);
    }
}

fn restore_entry(reader: &mut Reader<'_>) -> Result<Entry, ReadError> {
    let waiting = reader.yes()?;
    let next = reader.small()?;
    if !waiting {
        let nobody = ServiceId { slot: 0, generation: 0 };
        let request = Request::new(CommandId(0), Verb::Stop, nobody, Actor::default(), crate::time::Moment::NEVER);
        return Ok(Entry { request, before: RunId::NONE, state: EntryState::Free, next });
    }
    let request = restore_request(reader)?;
    Ok(Entry { request, before: RunId(reader.number()?), state: EntryState::Waiting, next })
}

pub(crate) fn save_request(request: &Request, writer: &mut Writer<'_>) {
    writer.number(request.id.0);
    writer.byte(request.verb.code());
    writer.byte(request.signal);
    save_service(request.service, writer);
    writer.small(request.by.uid);
    writer.small(request.by.pid);
    writer.yes(request.condition.is_some());
    if let Some(condition) = request.condition {
        save_service(condition, writer);
    }
    writer.moment(request.deadline);
    writer.wide(request.key);
}

pub(crate) fn restore_request(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    Ok(Request {
        id: CommandId(reader.number()?),
        verb: reader.coded(Verb::from_code, "a verb")?,
        signal: reader.byte()?,
        service: restore_service(reader)?,
        by: Actor { uid: reader.small()?, pid: reader.small()? },
        condition: if reader.yes()? { Some(restore_service(reader)?) } else { None },
        deadline: reader.moment()?,
        key: reader.wide()?,
    })
}

pub(crate) fn save_service(service: ServiceId, writer: &mut Writer<'_>) {
    writer.small(service.slot);
    writer.small(service.generation);
}

pub(crate) fn restore_service(reader: &mut Reader<'_>) -> Result<ServiceId, ReadError> {
    Ok(ServiceId { slot: reader.small()?, generation: reader.small()? })
}

fn save_sequel(sequel: Sequel, writer: &mut Writer<'_>) {
    match sequel {
        Sequel::Run => writer.byte(0),
        Sequel::Step => writer.byte(1),
        Sequel::Target(group) => {
            writer.byte(2);
            writer.small(group);
        }
        Sequel::Failure => writer.byte(3),
    }
}

fn restore_sequel(reader: &mut Reader<'_>) -> Result<Sequel, ReadError> {
    Ok(match reader.byte()? {
        0 => Sequel::Run,
        1 => Sequel::Step,
        2 => Sequel::Target(reader.small()?),
        3 => Sequel::Failure,
        _ => return Err(ReadError::BadValue { what: "what follows a rest" }),
    })
}

fn save_outcome(outcome: &Outcome, writer: &mut Writer<'_>) {
    match *outcome {
        Outcome::Done { run } => {
            writer.byte(0);
            writer.number(run.0);
        }
        Outcome::Failed(failure) => {
            writer.byte(1);
            save_failure(failure, writer);
        }
        Outcome::Blocked { on } => {
            writer.byte(2);
            writer.small(on);
        }
        Outcome::Finished => writer.byte(3),
        Outcome::Stuck { who } => {
            writer.byte(4);
            writer.small(who.map_or(0, |pid| pid.0));
        }
        Outcome::TimedOut { phase, on } => {
            writer.byte(5);
            writer.byte(phase.code());
            writer.small(on.map_or(END, |on| on));
        }
        Outcome::Cancelled { by } => {
            writer.byte(6);
            save_root_kind(&by, writer);
        }
        Outcome::NotFound => writer.byte(7),
        Outcome::NotRunning => writer.byte(8),
        Outcome::Busy => writer.byte(9),
        Outcome::ShuttingDown => writer.byte(10),
        Outcome::Switched => writer.byte(11),
        Outcome::AlreadyActive => writer.byte(12),
        Outcome::AlreadySwitching => writer.byte(13),
        Outcome::NoCondition => writer.byte(16),
        Outcome::TargetFailed(TargetFailure::Member { slot }) => {
            writer.byte(14);
            writer.small(slot);
        }
        Outcome::TargetFailed(TargetFailure::TimedOut { on }) => {
            writer.byte(15);
            writer.small(on.unwrap_or(END));
        }
    }
}

fn restore_outcome(reader: &mut Reader<'_>) -> Result<Outcome, ReadError> {
    Ok(match reader.byte()? {
        0 => Outcome::Done { run: RunId(reader.number()?) },
        1 => Outcome::Failed(restore_failure(reader)?),
        2 => Outcome::Blocked { on: reader.small()? },
        3 => Outcome::Finished,
        4 => Outcome::Stuck { who: some_pid(reader.small()?) },
        5 => Outcome::TimedOut {
            phase: reader.coded(PhaseKind::from_code, "a phase")?,
            on: Some(reader.small()?).filter(|on| *on != END),
        },
        6 => Outcome::Cancelled { by: restore_root_kind(reader)? },
        7 => Outcome::NotFound,
        8 => Outcome::NotRunning,
        9 => Outcome::Busy,
        10 => Outcome::ShuttingDown,
        11 => Outcome::Switched,
        12 => Outcome::AlreadyActive,
        13 => Outcome::AlreadySwitching,
        14 => Outcome::TargetFailed(TargetFailure::Member { slot: reader.small()? }),
        15 => Outcome::TargetFailed(TargetFailure::TimedOut { on: Some(reader.small()?).filter(|on| *on != END) }),
        16 => Outcome::NoCondition,
        _ => return Err(bad("an outcome")),
    })
}
