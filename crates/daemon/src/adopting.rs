//! The call by which a service takes over a process that runs already, and what is told of one that cannot.

use verger_engine::Event;
use verger_engine::causes::Actor;
use verger_engine::life::{PhaseKind, Request, Verb};
use verger_engine::runs::{Pid, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_wire::message::{Error, Obstacle, WrongState};

use crate::daemon::Daemon;
use crate::world::{NoAdoption, Spoilt};

impl Daemon {
    /// Starts a service by taking over a process that runs already.
    pub(crate) fn adopt(
        &mut self,
        at: u32,
        (name, pid, timeout_ms): (&str, Pid, Option<u64>),
        (oneway, by): (bool, Actor),
    ) -> Result<(), Error> {
        let service = self.find(name)?;
        let process = self.world.may_adopt(&self.engine, service.slot, pid);
        let process = process.map_err(|why| self.no_adoption(service, why))?;
        let id = self.control.promise(at, name, Some(service), oneway);
        self.world.adopt(&self.engine, service.slot, process, (by, id));
        let deadline = self.now + timeout_ms.map_or(Span::FOREVER, Span::from_millis);
        self.step(Event::Command(Request::new(id, Verb::Start, service, by, deadline)));
        Ok(())
    }

    fn no_adoption(&self, service: ServiceId, why: NoAdoption) -> Error {
        let invalid = |field: &str, expected: &str| Error::Invalid { field: field.into(), expected: expected.into() };
        match why {
            NoAdoption::Running => {
                let phase = self.engine.status(service.slot).map_or(PhaseKind::Running, |status| status.phase);
                Error::WrongState(WrongState::plain(self.engine.name(service.slot), phase, Obstacle::Running))
            }
            NoAdoption::Service(expected) => invalid("name", expected),
            NoAdoption::Process(expected) => invalid("pid", expected),
            NoAdoption::Descriptors => Error::Limit { which: "descriptors".into() },
            NoAdoption::Containment(errno) => invalid(
                "pid",
                &format!("the number of a process that can be moved into a cgroup of the service: {errno}"),
            ),
        }
    }

    /// Stops services whose process could not be taken over: before the engine hears of a start that has failed, which it would try
    /// again.
    pub(crate) fn stop_spoilt(&mut self) {
        while let Some(Spoilt { service, by, command, why }) = self.world.take_spoilt() {
            let error = self.no_adoption(service, why);
            self.log.warn(format_args!("{}: a process is not taken over: {error}", self.engine.name(service.slot)));
            let mut bytes = Vec::new();
            verger_wire::frame::write_error(&mut bytes, &error);
            self.control.keep_promise(command, bytes);
            self.stop_for(service, by);
        }
    }

    /// Stops a service for somebody who has asked for something else, which cannot be.
    pub(crate) fn stop_for(&mut self, service: ServiceId, by: Actor) {
        let (id, deadline) = (self.control.nobodys(), Moment::NEVER);
        self.step(Event::Command(Request::new(id, Verb::Stop, service, by, deadline)));
    }
}
