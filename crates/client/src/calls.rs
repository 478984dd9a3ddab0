//! One method for each of the daemon's, with its types.

use std::os::fd::AsFd;
use std::time::Duration;

use verger_wire::message::{
    Breakage, Call, Changes, Description, Done, Group, Groups, InterfaceDescription, Nothing, Order, Receipt,
    ReceiptReply, Replaced, Service, ServiceInfo, Services, Switched, Verdict, Why,
};

use crate::{ClientError, Connection, Watch};

/// The wire's integers end here; so long is no limit.
const MOST_MILLIS: u64 = i64::MAX as u64;

/// The errors of all of these: [`ClientError::Remote`] with what the daemon answered; [`ClientError::TimedOut`],
/// [`ClientError::Closed`], [`ClientError::Protocol`], [`ClientError::Io`] when it did not.
impl Connection {
    /// What the daemon is, and what it could make of its machine.
    ///
    /// # Errors
    /// As for all of these.
    pub fn describe(&mut self) -> Result<Description, ClientError> {
        self.call(&Call::Describe)
    }

    /// The services of these names, in that order; without names all, in the order of their names.
    ///
    /// # Errors
    /// `NotFound`; as for all of these.
    pub fn list(&mut self, names: Option<&[&str]>) -> Result<Vec<Service>, ClientError> {
        let Services { services } = self.call(&Call::List { names: owned(names) })?;
        Ok(services)
    }

    /// Wants a service up, and waits until it is ready.
    ///
    /// # Errors
    /// `NotFound`, `WrongState`, `Timeout`, `Cancelled`, `Busy`; as for all of these.
    pub fn start(&mut self, order: &Order) -> Result<Done, ClientError> {
        self.call(&Call::Start(order.clone()))
    }

    /// Wants a service down, and waits until nothing of it is left.
    ///
    /// # Errors
    /// As [`Connection::start`].
    pub fn stop(&mut self, order: &Order) -> Result<Done, ClientError> {
        self.call(&Call::Stop(order.clone()))
    }

    /// Wants another run of a service, and waits until that is ready.
    ///
    /// # Errors
    /// As [`Connection::start`].
    pub fn restart(&mut self, order: &Order) -> Result<Done, ClientError> {
        self.call(&Call::Restart(order.clone()))
    }

    /// Wants a group at another target (`GROUP/TARGET`, as the order's name), and waits until it is there.
    ///
    /// # Errors
    /// `NotFound`, `WrongState`, `Timeout`, `Cancelled`; as for all of these.
    pub fn switch(&mut self, order: &Order) -> Result<Switched, ClientError> {
        self.call(&Call::Switch(order.clone()))
    }

    /// What a compiled plan would do. `plan`: a sealed memory file. `from`: the digest of the plan that it is to replace; `None`:
    /// whichever is in force, 0: there is none.
    ///
    /// # Errors
    /// `Invalid` when it is no plan, `Stale`, `Trial`, `Limit`; as for all of these.
    pub fn preview(&mut self, plan: impl AsFd, from: Option<u64>) -> Result<Changes, ClientError> {
        self.call_with(&Call::Preview { from }, plan.as_fd())
    }

    /// Puts a compiled plan in the place of the one in force, on trial; comes back when it is kept or rolled back, or, where it has to
    /// be confirmed (within `confirm` from when everything is there), when everything is there. `within`: how long that may take.
    ///
    /// # Errors
    /// As [`Connection::preview`].
    pub fn apply(
        &mut self,
        plan: impl AsFd,
        from: Option<u64>,
        within: Option<Duration>,
        confirm: Option<Duration>,
    ) -> Result<Verdict, ClientError> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).map_or(MOST_MILLIS, |it| it.min(MOST_MILLIS));
        let call = Call::Apply { from, within_ms: within.map(millis), confirm_ms: confirm.map(millis) };
        self.call_with(&call, plan.as_fd())
    }

    /// Keeps the change on trial, or rolls it back.
    ///
    /// # Errors
    /// `Trial` when there is none; as for all of these.
    pub fn decide(&mut self, keep: bool) -> Result<Verdict, ClientError> {
        self.call(&Call::Decide { keep })
    }

    /// All groups and their targets, in the order of their names.
    ///
    /// # Errors
    /// As for all of these.
    pub fn groups(&mut self) -> Result<Vec<Group>, ClientError> {
        let Groups { groups } = self.call(&Call::Groups)?;
        Ok(groups)
    }

    /// Sends a signal, by its number, to the main process of a service.
    ///
    /// # Errors
    /// `NotFound`, `WrongState`; as for all of these.
    pub fn signal(&mut self, name: &str, signal: u8) -> Result<Done, ClientError> {
        self.call(&Call::Signal { name: name.to_owned(), signal })
    }

    /// Why a service is as it is.
    ///
    /// # Errors
    /// `NotFound`; as for all of these.
    pub fn why(&mut self, name: &str) -> Result<Why, ClientError> {
        self.call(&Call::Why { name: name.to_owned() })
    }

    /// How the stop of a run of a service went, or goes; of its last run that was stopped, if none is named.
    ///
    /// # Errors
    /// `NotFound`, `WrongState`, `Stale`; as for all of these.
    pub fn receipt(&mut self, name: &str, run: Option<u64>) -> Result<Receipt, ClientError> {
        let ReceiptReply { receipt } = self.call(&Call::Receipt { name: name.to_owned(), run })?;
        Ok(receipt)
    }

    /// Tells what happens to these services; without names to all. The connection is for nothing else from then on.
    ///
    /// # Errors
    /// `NotFound` comes with the first event; these are of the sending.
    pub fn watch(self, names: Option<&[&str]>) -> Result<Watch, ClientError> {
        Watch::begin(self, owned(names))
    }

    /// Ends everything, in order, and then the daemon; comes back when that has begun. `hasty`: without patience.
    ///
    /// # Errors
    /// As for all of these.
    pub fn shutdown(&mut self, hasty: bool) -> Result<(), ClientError> {
        let Nothing {} = self.call(&Call::Shutdown { hasty, budget_ms: None })?;
        Ok(())
    }

    /// Ends everything, in order, and then the daemon, within a time (whole milliseconds of it; [`Duration::MAX`] is no
    /// limit; asked again, it can only become less); comes back when that has begun.
    ///
    /// # Errors
    /// As for all of these.
    pub fn shutdown_within(&mut self, budget: Duration) -> Result<(), ClientError> {
        let budget_ms = Some(u64::try_from(budget.as_millis()).map_or(MOST_MILLIS, |millis| millis.min(MOST_MILLIS)));
        let Nothing {} = self.call(&Call::Shutdown { hasty: false, budget_ms })?;
        Ok(())
    }

    /// Replaces the daemon's program in place; comes back when that is about to happen, and the connection ends. `program`: an
    /// absolute path; without one, what lies now where the present program was executed from.
    ///
    /// # Errors
    /// `Invalid` when it cannot be executed or does not take over what the present one leaves; `Busy` when that is being found out
    /// already; as for all of these.
    pub fn reexec(&mut self, program: Option<&str>) -> Result<Replaced, ClientError> {
        self.call(&Call::Reexec { program: program.map(str::to_owned) })
    }

    /// Breaks something, in a daemon that was told to offer that. Of a panic there is no answer.
    ///
    /// # Errors
    /// `InterfaceNotFound` when it was not; as for all of these.
    pub fn inject(&mut self, kind: Breakage, name: Option<&str>) -> Result<(), ClientError> {
        let Nothing {} = self.call(&Call::Inject { kind, name: name.map(str::to_owned) })?;
        Ok(())
    }

    /// What service this is, and which interfaces it has.
    ///
    /// # Errors
    /// As for all of these.
    pub fn info(&mut self) -> Result<ServiceInfo, ClientError> {
        self.call(&Call::GetInfo)
    }

    /// The text of an interface.
    ///
    /// # Errors
    /// `InterfaceNotFound`; as for all of these.
    pub fn interface(&mut self, interface: &str) -> Result<String, ClientError> {
        let InterfaceDescription { description } =
            self.call(&Call::GetInterfaceDescription { interface: interface.to_owned() })?;
        Ok(description)
    }
}

fn owned(names: Option<&[&str]>) -> Option<Vec<String>> {
    names.map(|names| names.iter().map(|name| (*name).to_owned()).collect())
}
