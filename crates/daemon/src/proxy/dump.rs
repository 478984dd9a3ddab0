//! Telling one controller everything that is so, as fast as it reads.

use verger_engine::proxy::{Name, Proxy};
use verger_engine::time::Moment;
use verger_wire::lines::{START_BELOW, event};

use super::controller::{Controller, Dump};
use super::obey::LISTS;

impl Controller {
    /// Tells more of a dump, as long as there is room. `handle` puts the event of the handle after a name into the line; `None`: there
    /// is none.
    pub(crate) fn go_on_with_dump(
        &mut self,
        proxy: &Proxy,
        handle: impl Fn(Option<&Name>, &mut Vec<u8>) -> Option<Name>,
        line: &mut Vec<u8>,
        now: Moment,
    ) {
        loop {
            let Some(dump) = self.dump else { return };
            // Nobody hears the rest: the word `overflow` will say that it is missing, and commands go on.
            if !self.hears() || self.output.is_overflowed() {
                self.dump = None;
                return;
            }
            if self.output.waiting() > 2 * START_BELOW {
                self.flush(now);
                if self.output.waiting() > START_BELOW {
                    return;
                }
            }
            self.dump = self.tell_next(dump, proxy, &handle, line, now);
        }
    }

    /// Tells one line; what comes after it.
    fn tell_next(
        &mut self,
        dump: Dump,
        proxy: &Proxy,
        handle: &impl Fn(Option<&Name>, &mut Vec<u8>) -> Option<Name>,
        line: &mut Vec<u8>,
        now: Moment,
    ) -> Option<Dump> {
        match dump {
            Dump::Handles(after) => {
                let Some(name) = handle(after.as_ref(), line) else {
                    return Some(Dump::Services(None, 5));
                };
                self.tell(line, true);
                Some(Dump::Handles(Some(name)))
            }
            Dump::Services(Some((name, slot)), told) if usize::from(told) <= LISTS.len() => {
                let service = proxy.service(slot);
                // One that went meanwhile is not told of any further.
                if *service.name() != name || !service.is_there() {
                    return Some(Dump::Services(Some((name, slot)), u8::MAX));
                }
                match told {
                    0 => event::state(line, service, service.state(), now),
                    told => event::list(line, service, LISTS[usize::from(told) - 1]),
                }
                self.tell(line, true);
                Some(Dump::Services(Some((name, slot)), told + 1))
            }
            Dump::Services(after, _) => match proxy.next(after.as_ref().map(|(name, _)| name)) {
                Some(slot) => Some(Dump::Services(Some((*proxy.service(slot).name(), slot)), 0)),
                None => Some(Dump::Signals(0)),
            },
            Dump::Signals(after) => {
                let next = proxy.pending().iter().find(|it| it.arrival > after)?;
                event::signal(line, next);
                self.tell(line, true);
                self.told = self.told.max(next.arrival);
                Some(Dump::Signals(next.arrival))
            }
        }
    }
}
