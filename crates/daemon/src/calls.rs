//! What callers ask of the daemon: each call is done, and answered at once or when its outcome is there.

use verger_engine::Event;
use verger_engine::budget::Patience;
use verger_engine::causes::Actor;
use verger_engine::image::PROBE;
use verger_engine::life::{FaultKind, PhaseKind, Request, Switch, Verb};
use verger_engine::runs::{Containment, Pid, RunId, ServiceId};
use verger_engine::time::Span;
use verger_wire::message::{
    Breakage, Call, Description, Error, Finding, Groups, InterfaceDescription, Level, Obstacle, Order, ReceiptReply,
    ServiceInfo, WrongState,
};
use verger_wire::view::{self, Listing};

use crate::control::Question;
use crate::daemon::Daemon;
use crate::receipts::Missing;
use crate::recipe;

impl Daemon {
    /// Takes up the calls of one connection, one after the other: each finds what those before it have made of things.
    pub(crate) fn converse(&mut self, at: u32) {
        while self.take_question(at) {
            self.hear_world();
        }
    }

    /// Takes up the next call of a connection, if there is one.
    pub(crate) fn take_question(&mut self, at: u32) -> bool {
        let Some(question) = self.control.next_question(at) else { return false };
        let Question { connection, asked, right, who, heir } = question;
        // Over a connection that a service inherited its main process speaks, whoever of the service it may be.
        let who = heir.and_then(|heir| self.world.main_process(heir)).unwrap_or(who);
        let allowed = verger_wire::rights::check(verger_wire::rights::needed(&asked.call), right);
        let answered = allowed.and_then(|()| self.answer(connection, &asked.call, asked.more, asked.oneway, who));
        if let Err(error) = answered
            && !asked.oneway
        {
            self.control.refuse(connection, &error);
        }
        true
    }

    fn answer(&mut self, at: u32, call: &Call, more: bool, oneway: bool, who: Actor) -> Result<(), Error> {
        let long = matches!(call, Call::List { .. } | Call::Groups | Call::Watch { .. } | Call::Why { .. });
        if long && self.control.is_short_of_memory() {
            return Err(Error::Limit { which: "answers that nobody takes".into() });
        }
        match call {
            Call::Start(order) => return self.order(at, Verb::Start, order, oneway, who),
            Call::Stop(order) => return self.order(at, Verb::Stop, order, oneway, who),
            Call::Restart(order) => return self.order(at, Verb::Restart, order, oneway, who),
            Call::Ignore(order) => return self.order(at, Verb::Ignore, order, oneway, who),
            Call::Heed(order) => return self.order(at, Verb::Heed, order, oneway, who),
            Call::Set(order) => return self.order(at, Verb::Set, order, oneway, who),
            Call::Clear(order) => return self.order(at, Verb::Clear, order, oneway, who),
            Call::Adopt { name, pid, timeout_ms } => {
                return self.adopt(at, (name, Pid(*pid), *timeout_ms), (oneway, who));
            }
            Call::Switch(order) => return self.switch(at, order, oneway, who),
            Call::Preview { from } => {
                let changes = self.preview(at, *from)?;
                self.reply(at, oneway, &changes);
            }
            Call::Apply { from, within_ms, confirm_ms } => {
                return self.apply(at, *from, *within_ms, *confirm_ms, (oneway, who));
            }
            Call::Decide { keep } => self.decide(at, *keep, (oneway, who)),
            Call::Groups => {
                let groups = view::groups(&self.engine);
                self.reply(at, oneway, &Groups { groups });
            }
            Call::Signal { name, signal } => {
                return self.request(at, Verb::Signal, *signal, &Order::new(name), oneway, who);
            }
            Call::Shutdown { hasty, budget_ms } => {
                self.shut_down(0, who, budget_ms.map(Span::from_millis));
                if *hasty {
                    self.step(Event::Shutdown { signal: 0, by: who, patience: Patience::Spent });
                }
                self.reply_nothing(at, oneway);
            }
            Call::Reexec { program } => return self.reexec(at, program.as_deref(), oneway),
            Call::Inject { kind, name } => self.inject(at, *kind, name.as_deref(), oneway)?,
            Call::Watch { names } => {
                let listing = Listing::watched(&self.engine, names.as_deref())?;
                if more {
                    let slots = names
                        .as_ref()
                        .map(|names| names.iter().filter_map(|name| Some(self.engine.find(name)?.slot)).collect());
                    self.control.watch(at, slots, &listing);
                } else if !oneway {
                    self.control.reply(at, &listing);
                }
            }
            Call::List { names } => {
                let listing = Listing::of(&self.engine, names.as_deref())?;
                if !oneway {
                    self.control.reply(at, &listing);
                }
            }
            Call::Why { name } => {
                let service = self.find(name)?;
                let mut why = view::why(&self.engine, service.slot).ok_or(Error::NotFound { name: name.clone() })?;
                self.world.settle_receipts();
                why.limits = self.world.lacks(&self.engine, service.slot);
                why.receipt = self.world.receipts().receipt(&self.engine, service, None).ok().map(Box::new);
                why.last_look = self.world.looks().last(&self.engine, service.slot).map(Box::new);
                self.reply(at, oneway, &why);
            }
            Call::Receipt { name, run } => {
                let service = self.find(name)?;
                self.world.settle_receipts();
                let found = self.world.receipts().receipt(&self.engine, service, run.map(RunId));
                let receipt = found.map_err(|missing| self.no_receipt(name, service, missing))?;
                self.reply(at, oneway, &ReceiptReply { receipt });
            }
            Call::Describe => {
                let command = self.control.promise(at, "", None, oneway);
                self.describing.push(command);
                self.tell_who_asked();
                if !self.describing.is_empty() {
                    self.world.starter.try_shims();
                }
            }
            Call::GetInfo => {
                let interfaces = self.control.offer().names().map(str::to_owned).collect();
                let info = ServiceInfo {
                    vendor: "verger".into(),
                    product: "vergerd".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    url: String::new(),
                    interfaces,
                };
                self.reply(at, oneway, &info);
            }
            Call::GetInterfaceDescription { interface } => {
                let text = self.control.offer().text(interface);
                let text = text.ok_or(Error::InterfaceNotFound { interface: interface.clone() })?;
                self.reply(at, oneway, &InterfaceDescription { description: text.to_owned() });
            }
        }
        Ok(())
    }

    fn no_receipt(&self, name: &str, service: ServiceId, missing: Missing) -> Error {
        match missing {
            Missing::NotKept => Error::Stale,
            Missing::NeverStopped => {
                let phase = self.engine.status(service.slot).map_or(PhaseKind::Down, |status| status.phase);
                Error::WrongState(WrongState::plain(name, phase, Obstacle::NeverStopped))
            }
        }
    }

    fn reply<P: verger_wire::Serialize>(&mut self, at: u32, oneway: bool, parameters: &P) {
        if !oneway {
            self.control.reply(at, parameters);
        }
    }

    fn reply_nothing(&mut self, at: u32, oneway: bool) {
        if !oneway {
            self.control.reply_nothing(at);
        }
    }

    pub(crate) fn find(&self, name: &str) -> Result<ServiceId, Error> {
        self.engine.find(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })
    }

    fn order(&mut self, at: u32, verb: Verb, order: &Order, oneway: bool, who: Actor) -> Result<(), Error> {
        self.request(at, verb, 0, order, oneway, who)
    }

    fn request(
        &mut self,
        at: u32,
        verb: Verb,
        signal: u8,
        order: &Order,
        oneway: bool,
        who: Actor,
    ) -> Result<(), Error> {
        let service = self.find(&order.name)?;
        let id = self.control.promise(at, &order.name, Some(service), oneway);
        let patience = order.timeout_ms.map_or(Span::FOREVER, Span::from_millis);
        let deadline = self.now + patience;
        // What a condition asks for is told as its own: who its process runs as is nobody who wanted anything.
        let is_condition = |heir: &ServiceId| {
            verb == Verb::Start && self.engine.description(heir.slot).is_some_and(|it| it.program() == PROBE)
        };
        let condition = self.control.heir(at).filter(is_condition);
        let request = Request { id, verb, signal, service, by: who, condition, deadline, key: order.key_number() };
        self.step(Event::Command(request));
        Ok(())
    }

    fn switch(&mut self, at: u32, order: &Order, oneway: bool, who: Actor) -> Result<(), Error> {
        let unknown = || Error::NotFound { name: order.name.clone() };
        let (group, target) = order.name.split_once('/').unwrap_or(("", &order.name));
        let group = self.engine.find_group(group).ok_or_else(unknown)?;
        let described = self.engine.group_description(group.slot);
        let target = described.and_then(|group| group.find_target(target)).ok_or_else(unknown)?;
        let id = self.control.promise(at, &order.name, None, oneway);
        let deadline = self.now + order.timeout_ms.map_or(Span::FOREVER, Span::from_millis);
        self.step(Event::Switch(Switch { id, group, target, by: who, deadline, key: order.key_number() }));
        Ok(())
    }

    fn inject(&mut self, at: u32, kind: Breakage, name: Option<&str>, oneway: bool) -> Result<(), Error> {
        match kind {
            Breakage::Panic => panic!("a test asked for it"),
            Breakage::Fault => {
                let expected = || Error::Invalid { field: "name".into(), expected: "the service to break".into() };
                let service = self.find(name.ok_or_else(expected)?)?;
                self.step(Event::Fault { service, what: FaultKind::Injected });
                self.reply_nothing(at, oneway);
            }
        }
        Ok(())
    }

    /// Answers who asked what this daemon is about, once it is known what it can have.
    pub(crate) fn tell_who_asked(&mut self) {
        if self.describing.is_empty() || self.world.starter.ground().shims.known().is_none() {
            return;
        }
        let description = self.describe();
        for command in std::mem::take(&mut self.describing) {
            let mut bytes = Vec::new();
            verger_wire::frame::write_reply(&mut bytes, &description, false);
            self.control.keep_promise(command, bytes);
        }
    }

    fn describe(&self) -> Description {
        let shims = self.world.starter.ground().shims.known().map_or(&[][..], |found| &found.findings);
        Description {
            version: env!("CARGO_PKG_VERSION").into(),
            instance: self.facts.instance.clone(),
            pid: std::process::id(),
            boot_id: self.facts.boot_id.clone(),
            state: self.state(),
            plan: self.engine.plan().map(view::plan),
            started_us: view::micros(self.facts.started_at),
            now_us: view::micros(self.now),
            spawn: self.facts.spawn.clone(),
            containment: self.facts.containment,
            trial: view::trial(&self.engine),
            findings: self
                .facts
                .findings
                .iter()
                .chain(shims)
                .cloned()
                .chain(self.loosened())
                .chain(self.unlimited())
                .collect(),
        }
    }

    /// What of their limits services do not have.
    fn unlimited(&self) -> impl Iterator<Item = Finding> {
        let lacks = |slot| self.world.lacks(&self.engine, slot);
        let lines = self.engine.services().flat_map(move |status| lacks(status.service.slot));
        lines.map(|text| Finding { topic: "limits".into(), level: Level::Note, text, hint: None })
    }

    /// Who is held by less than is to hold it, as long as that is so: what escapes then is not seen.
    fn loosened(&self) -> impl Iterator<Item = Finding> {
        let auto = self.world.starter.ground().auto;
        self.engine.services().filter_map(move |status| {
            let run = self.engine.run(status.service.slot)?;
            let wanted = recipe::containment(&self.engine.images().service(run.home()), auto);
            let was_shim = matches!(wanted, Containment::Shim | Containment::Pidns);
            (was_shim && run.containment() == Containment::Group).then(|| Finding {
                topic: "shim".into(),
                level: Level::Problem,
                text: format!(
                    "`{}` has no shim any more, somebody killed it: what leaves its process group is not seen",
                    self.engine.name(status.service.slot)
                ),
                hint: Some("restart it to have it held as before".into()),
            })
        })
    }
}
