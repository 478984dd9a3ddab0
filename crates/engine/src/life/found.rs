//! Coming back: what the daemon knew of a service before its own end, and takes up again.
//!
//! After a plan was taken with [`super::Scope::Found`], one [`Found`] per service says what the board had, and then
//! [`crate::Event::Resume`] lets things move: settled one by one, the first would be started before the last is known to
//! run. A run that was alive goes on under its number; whether it has ended meanwhile is for the world to say, as always.

use super::phase::{Asked, Because, Failure, FaultKind, LastOrder, Phase, PhaseKind, Sequel, Want};
use super::save::{restore_failure, restore_last_order, save_failure, save_last_order};
use super::{Bare, END, Life, Mode, Why};
use crate::causes::{Cause, Root, RootKind, restore_root, save_root};
use crate::codec::{ReadError, Reader, Writer};
use crate::image::EdgeKind;
use crate::images::Images;
use crate::runs::{Containment, Exit, Pid, RunId, Runs, ServiceId, pack_exit, some_pid, unpack_exit};
use crate::time::Moment;

/// What was known of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The service, as it is called now.
    pub service: ServiceId,
    /// Whether it was asked for itself.
    pub asked: bool,
    /// The phase it was in.
    pub phase: PhaseKind,
    /// Its run; the last one when it had none.
    pub run: RunId,
    /// When that run was begun.
    pub began: Moment,
    /// When it entered that phase; 0 when not known.
    pub since: Moment,
    /// The main process, if it had one.
    pub pid: Option<Pid>,
    /// When the kernel says it began.
    pub started: u64,
    /// What holds its processes.
    pub containment: Containment,
    /// Whether its main process stood still for a debugger.
    pub awaits_debugger: bool,
    /// When a rest was to be over.
    pub until: Moment,
    /// Why it had failed.
    pub failure: Option<Failure>,
    /// How its last run ended.
    pub last_exit: Option<Exit>,
    /// What last decided about it.
    pub last_order: LastOrder,
    /// Whether somebody stopped it by command and nobody has started it since.
    pub taken: bool,
    /// Restarts ever.
    pub restarts: u32,
    /// Ends in a row without a healthy run between.
    pub failures: u32,
    /// Where the window of the give-up limit began.
    pub window_from: Moment,
    /// Restarts in it.
    pub window_restarts: u32,
    /// Steps taken of the recovery set that it is the first of.
    pub steps: u8,
    /// Its rest was to end with the next of them.
    pub escalates: bool,
    /// Its end led to nothing.
    pub ignored: bool,
    /// Of a condition by name: somebody had set it.
    pub set: bool,
    /// The outside event that its newest transition went back to, with slots as they are now.
    pub root: Option<Root>,
}

impl Found {
    /// A service of which nothing is known, or nothing counts any more: it begins as its plan says.
    pub fn anew(service: ServiceId, asked: bool) -> Found {
        Found {
            service,
            asked,
            phase: PhaseKind::Down,
            run: RunId::NONE,
            began: Moment(0),
            since: Moment(0),
            pid: None,
            started: 0,
            containment: Containment::None,
            awaits_debugger: false,
            until: Moment::NEVER,
            failure: None,
            last_exit: None,
            last_order: LastOrder::Stop,
            taken: false,
            restarts: 0,
            failures: 0,
            window_from: Moment(0),
            window_restarts: 0,
            steps: 0,
            escalates: false,
            ignored: false,
            set: false,
            root: None,
        }
    }
}

impl Life {
    /// All that was known has been told: from here on things move.
    pub(crate) fn resume(&mut self, images: &Images) {
        if self.mode == Mode::Finding {
            self.mode = Mode::Serving;
            let root = self.root(RootKind::Revival);
            self.go_on(images, root);
            self.part_those_in_conflict(root);
            self.roots.release(root);
        }
    }

    /// Takes up what was known of a service. Ignored when not coming back, and for one that was told already.
    pub(crate) fn found(&mut self, runs: &mut Runs, found: &Found) {
        let slot = found.service.slot;
        if self.mode != Mode::Finding {
            return;
        }
        if !self.lives_here(found.service) || runs.get(slot).is_some() || self.journal.count(slot) > 0 {
            return;
        }
        // What it goes back to is older than the daemon's own end.
        let root = match found.root {
            Some(root) => self.roots.add(root),
            None => self.root(RootKind::Revival),
        };
        let why = Why { cause: Cause::Found, root };
        let service = &mut self.slots[slot as usize];
        service.run = found.run;
        service.began = found.began;
        service.last_exit = found.last_exit;
        service.last_order = found.last_order;
        service.restarts = found.restarts;
        service.failures = found.failures;
        service.window_from = found.window_from;
        service.window_restarts = found.window_restarts;
        service.ignored = found.ignored;
        service.set = found.set && service.bare == Some(Bare::Named);
        let home = service.home;
        if self.is_in_set(runs.images(), slot) && self.slots[slot as usize].lead == slot {
            self.slots[slot as usize].steps = found.steps;
        }

        let run_lives = match (found.pid, home) {
            (Some(pid), Some(home)) if found.phase.is_live() && found.run.is_some() => {
                let (containment, awaits_debugger) = (found.containment, found.awaits_debugger);
                runs.found(
                    found.service,
                    home,
                    found.run,
                    pid,
                    found.started,
                    containment,
                    awaits_debugger,
                    found.began,
                );
                true
            }
            _ => false,
        };
        if found.asked && self.slots[slot as usize].asked != Asked::Up {
            self.ask_up_as_found(slot, root);
        } else if found.taken && !self.is_required(slot) {
            // Who can do without it had it wanted when that one was found.
            self.ask_down(slot, Cause::Found, root);
        }
        if self.slots[slot as usize].want == Want::Down && found.root.is_some() {
            // Not because the plan does not start it.
            let before = core::mem::replace(&mut self.slots[slot as usize].why, why);
            self.roots.retain(why.root);
            self.roots.release(before.root);
        }
        match found.phase {
            PhaseKind::Running if run_lives => {
                let service = &mut self.slots[slot as usize];
                (service.spawned, service.was_ready) = (true, true);
                self.move_to(slot, Phase::Running, why);
            }
            PhaseKind::Starting if run_lives => {
                let patience = self.description(runs, slot).start_timeout();
                let phase = Phase::Starting { ready_by: self.now + patience, alive_at: Moment::NEVER };
                let paced = self.description(runs, slot).paced();
                self.move_to(slot, phase, why);
                self.take_place(slot, paced);
                // What readiness it can still show begins anew.
                self.hear(runs, slot, crate::runs::News::Spawned);
            }
            PhaseKind::Held | PhaseKind::Stopping | PhaseKind::Stuck if run_lives => {
                runs.end(slot, self.now);
                self.move_to(slot, Phase::Stopping { because: Because::Asked }, why);
            }
            PhaseKind::Resting if self.slots[slot as usize].want == Want::Up => {
                let group = self.slots[slot as usize].group;
                let (until, sequel) = match (found.escalates, found.until, group) {
                    (false, until, _) => (until, Sequel::Run),
                    // It was to begin with a target: with that of its own group, which is told later ([`Life::found_group`]).
                    (true, Moment::NEVER, END) => (self.now, Sequel::Run),
                    (true, Moment::NEVER, group) => (Moment::NEVER, Sequel::Target(group)),
                    (true, until, _) => (until, Sequel::Step),
                };
                self.move_to(slot, Phase::Resting { until }, why);
                self.slots[slot as usize].sequel = sequel;
            }
            PhaseKind::Done => self.move_to(slot, Phase::Done, why),
            PhaseKind::Failed => {
                let failure = found.failure.unwrap_or(Failure::Internal(FaultKind::RunMismatch));
                self.move_to(slot, Phase::Failed(failure), why);
            }
            PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Blocked
            | PhaseKind::Starting
            | PhaseKind::Running
            | PhaseKind::Held
            | PhaseKind::Stopping
            | PhaseKind::Stuck
            | PhaseKind::Resting => {
                // It does not move, but there is more to show of it now than the plan alone says.
                self.changed(slot);
            }
        }
        // It has been so for longer than it has been found so.
        let here = &mut self.slots[slot as usize];
        if here.phase.kind() == found.phase && found.since != Moment(0) {
            here.since = found.since.min(self.now);
        }
        self.roots.release(root);
    }
}

impl Life {
    /// Whether somebody is wanted who cannot do without a service.
    fn is_required(&self, slot: u32) -> bool {
        let mut users = self.graph.users(slot).iter();
        users.any(|user| user.kind == EdgeKind::Requires && self.slots[user.slot as usize].want != Want::Down)
    }
}

impl Found {
    /// Writes it down.
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        writer.small(self.service.slot);
        writer.small(self.service.generation);
        writer.yes(self.asked);
        writer.byte(self.phase.code());
        writer.number(self.run.0);
        writer.moment(self.began);
        writer.moment(self.since);
        writer.small(self.pid.map_or(0, |pid| pid.0));
        writer.number(self.started);
        writer.byte(self.containment.code());
        writer.yes(self.awaits_debugger);
        writer.moment(self.until);
        writer.yes(self.failure.is_some());
        if let Some(failure) = self.failure {
            save_failure(failure, writer);
        }
        writer.small(self.last_exit.map_or(0, pack_exit));
        save_last_order(self.last_order, writer);
        writer.yes(self.taken);
        for number in [self.restarts, self.failures, self.window_restarts] {
            writer.small(number);
        }
        writer.moment(self.window_from);
        writer.byte(self.steps);
        writer.yes(self.escalates);
        writer.yes(self.ignored);
        writer.yes(self.set);
        writer.yes(self.root.is_some());
        if let Some(root) = self.root {
            save_root(&root, writer);
        }
    }

    /// Reads it back.
    pub(crate) fn restore(reader: &mut Reader<'_>) -> Result<Found, ReadError> {
        let service = ServiceId { slot: reader.small()?, generation: reader.small()? };
        Ok(Found {
            service,
            asked: reader.yes()?,
            phase: reader.coded(PhaseKind::from_code, "a phase")?,
            run: RunId(reader.number()?),
            began: reader.moment()?,
            since: reader.moment()?,
            pid: some_pid(reader.small()?),
            started: reader.number()?,
            containment: reader.coded(Containment::from_code, "a containment")?,
            awaits_debugger: reader.yes()?,
            until: reader.moment()?,
            failure: if reader.yes()? { Some(restore_failure(reader)?) } else { None },
            last_exit: unpack_exit(reader.small()?),
            last_order: restore_last_order(reader)?,
            taken: reader.yes()?,
            restarts: reader.small()?,
            failures: reader.small()?,
            window_restarts: reader.small()?,
            window_from: reader.moment()?,
            steps: reader.byte()?,
            escalates: reader.yes()?,
            ignored: reader.yes()?,
            set: reader.yes()?,
            root: if reader.yes()? { Some(restore_root(reader)?) } else { None },
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::Event;
    use crate::causes::Actor;
    use crate::desk::{Desk, image, service};
    use crate::life::Scope;
    use crate::runs::{RunEvent, RunRef};
    use crate::time::Span;

    #[test]
    fn what_is_found_is_shown_whether_it_moves_or_not() {
        let mut desk = Desk::new(vec![]);
        let image = image(vec![service("down"), service("up")]);
        desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() }).forget();
        let found = |name: &str, phase, run, pid| Found {
            service: desk.engine.find(name).unwrap(),
            asked: phase == PhaseKind::Running,
            phase,
            run: RunId(run),
            began: Moment(7),
            since: Moment(8),
            pid,
            started: 1,
            containment: Containment::Cgroup,
            awaits_debugger: false,
            until: Moment::NEVER,
            failure: None,
            last_exit: Some(Exit::status(3)),
            last_order: LastOrder::Stop,
            taken: false,
            restarts: 4,
            failures: 0,
            window_from: Moment(0),
            window_restarts: 0,
            steps: 0,
            escalates: false,
            ignored: false,
            set: false,
            root: Some(Root { event: 0, at: Moment(3), what: RootKind::Plan { by: Actor { uid: 7, pid: 70 } } }),
        };
        let (down, up) = (found("down", PhaseKind::Down, 5, None), found("up", PhaseKind::Running, 6, Some(Pid(60))));
        desk.tell(Event::Found(down)).says("changed down");
        desk.tell(Event::Found(up)).says("up: down -> running (found)");
        desk.tell(Event::Resume).says("");
        let root = desk.engine.status(desk.engine.find("up").unwrap().slot).unwrap().root;
        assert_eq!(
            root.map(|root| (root.at, root.what)),
            up.root.map(|root| (root.at, root.what)),
            "it goes back further"
        );
        let status = desk.engine.status(desk.engine.find("down").unwrap().slot).unwrap();
        assert_eq!((status.run, status.began, status.restarts), (RunId(5), Moment(7), 4));
        assert_eq!(status.last_exit, Some(Exit::status(3)));
    }

    #[test]
    fn how_long_it_has_been_so_is_kept_and_what_begins_now_begins_now() {
        let mut desk = Desk::new(vec![]);
        let image =
            image(vec![service("down"), service("held"), service("failed"), service("stopping"), service("up")]);
        desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() }).forget();
        desk.pass(Span::from_secs(60)).tell(Event::Tick).forget();
        let now = desk.engine.now();
        use PhaseKind::{Down, Failed, Held, Running, Stopping};
        for (name, phase) in
            [("down", Down), ("held", Held), ("failed", Failed), ("stopping", Stopping), ("up", Running)]
        {
            let service = desk.engine.find(name).unwrap();
            let pid = phase.is_live().then(|| Pid(60 + service.slot));
            let run = RunId(5 + u64::from(service.slot));
            let found = Found { phase, run, pid, since: Moment(7), ..Found::anew(service, phase == Running) };
            desk.tell(Event::Found(found)).forget();
            let since = desk.engine.status(service.slot).unwrap().since;
            let expected = if phase == Held { now } else { Moment(7) };
            assert_eq!(since, expected, "{name}");
        }
        // When it was not known, or is said to be yet to come, it has been so since now.
        for (since, expected) in [(Moment(0), now), (Moment::NEVER, now)] {
            let mut desk = Desk::new(vec![]);
            let image = crate::desk::image(vec![service("up")]);
            desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() }).forget();
            desk.pass(Span::from_secs(60)).tell(Event::Tick).forget();
            let up = desk.engine.find("up").unwrap();
            let live = Found { phase: Running, run: RunId(5), pid: Some(Pid(5)), since, ..Found::anew(up, true) };
            desk.tell(Event::Found(live)).forget();
            assert_eq!(desk.engine.status(up.slot).unwrap().since, expected);
        }
    }

    #[test]
    fn who_is_found_running_was_ready_and_its_end_is_no_try_of_a_start() {
        let mut desk = Desk::new(vec![]);
        let image = image(vec![crate::image::Service {
            start_retries: Some(3),
            restart: crate::image::RestartPolicy::Never,
            ..service("up")
        }]);
        desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() });
        let up = desk.engine.find("up").unwrap();
        let live = Found { phase: PhaseKind::Running, run: RunId(5), pid: Some(Pid(5)), ..Found::anew(up, true) };
        desk.tell(Event::Found(live)).tell(Event::Resume).forget();
        let (run, usage) = (RunRef { service: up, run: RunId(5) }, crate::runs::Usage::NONE);
        desk.tell(Event::Run(RunEvent::Exited { run, exit: Exit::status(1), usage }));
        desk.tell(Event::Run(RunEvent::Swept { run, left: None }));
        assert_eq!(desk.phases(), "up failed", "its policy says so");
    }

    #[test]
    fn an_end_that_had_lost_its_patience_goes_on_without() {
        let mut desk = Desk::new(vec![]);
        let image = image(vec![service("held"), service("ending")]);
        desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() }).forget();
        for (name, phase, run) in [("held", PhaseKind::Running, 5), ("ending", PhaseKind::Stopping, 6)] {
            let service = desk.engine.find(name).unwrap();
            let live = Found { phase, run: RunId(run), pid: Some(Pid(run as u32)), ..Found::anew(service, true) };
            desk.tell(Event::Found(live));
        }
        desk.tell(Event::Resume).forget();
        assert_eq!(desk.engine.haste(), crate::life::Haste::No);
        // What the board had: first that everything ends, then that it is to be without graces.
        for patience in [crate::budget::Patience::Full, crate::budget::Patience::Spent] {
            desk.tell(Event::Shutdown { signal: 0, by: Actor::default(), patience });
        }
        assert_eq!(desk.engine.haste(), crate::life::Haste::NoGraces);
        let said = desk.said();
        assert!(said.contains("kill held") && said.contains("kill ending"), "{said}");
    }
}
