//! Telling one controller everything that is so, as fast as it reads.

use verger_wire::lines::{START_BELOW, event};

use super::Daemonproxy;
use super::controller::Dump;
use super::obey::LISTS;

impl Daemonproxy {
    /// Tells more of a dump, as long as there is room.
    pub(super) fn go_on_with_dump(&mut self, at: usize) {
        loop {
            let Some(dump) = self.controllers[at].dump else { return };
            // Nobody hears the rest: the word `overflow` will say that it is missing, and commands go on.
            if !self.controllers[at].hears() || self.controllers[at].output.is_overflowed() {
                self.controllers[at].dump = None;
                return;
            }
            if self.controllers[at].output.waiting() > 2 * START_BELOW {
                self.controllers[at].flush(self.now);
                if self.controllers[at].output.waiting() > START_BELOW {
                    return;
                }
            }
            let next = self.tell_next(at, dump);
            self.controllers[at].dump = next;
        }
    }

    /// Tells one line; what comes after it.
    fn tell_next(&mut self, at: usize, dump: Dump) -> Option<Dump> {
        match dump {
            Dump::Handles(after) => {
                let Some(handle) = self.handles.next(after.as_ref()) else {
                    return Some(Dump::Services(None, 5));
                };
                let (kind, flags, words) = self.handles.tell(handle);
                event::handle(&mut self.line, &handle.name, kind, flags, words);
                let name = handle.name;
                self.controllers[at].tell(&self.line, true);
                Some(Dump::Handles(Some(name)))
            }
            Dump::Services(Some((name, slot)), told) if usize::from(told) <= LISTS.len() => {
                let service = self.proxy.service(slot);
                // One that went meanwhile is not told of any further.
                if *service.name() != name || !service.is_there() {
                    return Some(Dump::Services(Some((name, slot)), u8::MAX));
                }
                match told {
                    0 => event::state(&mut self.line, service, service.state(), self.now),
                    told => event::list(&mut self.line, service, LISTS[usize::from(told) - 1]),
                }
                self.controllers[at].tell(&self.line, true);
                Some(Dump::Services(Some((name, slot)), told + 1))
            }
            Dump::Services(after, _) => match self.proxy.next(after.as_ref().map(|(name, _)| name)) {
                Some(slot) => Some(Dump::Services(Some((*self.proxy.service(slot).name(), slot)), 0)),
                None => Some(Dump::Signals(0)),
            },
            Dump::Signals(after) => {
                let next = self.proxy.pending().iter().find(|it| it.arrival > after)?;
                let arrival = next.arrival;
                event::signal(&mut self.line, next);
                let controller = &mut self.controllers[at];
                controller.tell(&self.line, true);
                controller.told = controller.told.max(arrival);
                Some(Dump::Signals(arrival))
            }
        }
    }
}
