//! What wakes us: control, status and signals, through one epoll instance made at the start.
//!
//! Not `poll(2)`: that refuses to look at more descriptors than the process may have, and whoever lowers that limit while we
//! sleep must not take our eyes. What epoll does not take (plain files, directories) is always ready.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use verger_engine::time::Span;
use verger_linux::Errno;
use verger_linux::signals::SignalFd;

use crate::ends::Ends;

/// What we are told of a descriptor that is gone: hung up, broken, or no descriptor at all.
const GONE: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// Which descriptor it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Control,
    Status,
    Signals,
}

/// How a descriptor is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watched {
    Not,
    /// For these events.
    For(EventFlags),
    /// epoll does not take it: it never keeps anybody waiting.
    Always,
}

/// The epoll instance and what it looks at.
pub(crate) struct Wake {
    epoll: OwnedFd,
    control: Watched,
    status: Watched,
}

/// What is ready.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ready {
    /// There is something to read from control, or it hung up.
    pub(crate) control: bool,
    /// Control hung up: what can be read now is all there will be.
    pub(crate) control_gone: bool,
    /// Status takes something again.
    pub(crate) status: bool,
    /// Nobody will read from status any more.
    pub(crate) status_gone: bool,
    /// A signal waits.
    pub(crate) signals: bool,
}

impl Ready {
    pub(crate) fn anything(self) -> bool {
        self.control || self.status || self.status_gone || self.signals
    }
}

impl Wake {
    /// For these.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSPC`: the user has no watches left (`/proc/sys/fs/epoll/max_user_watches`).
    pub(crate) fn new(signals: &SignalFd, ends: &Ends) -> Result<Wake, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, signals, EventData::new_u64(Place::Signals as u64), EventFlags::IN)?;
        let mut wake = Wake { epoll, control: Watched::Not, status: Watched::Not };
        wake.look_at(ends)?;
        Ok(wake)
    }

    /// Waits until something is ready, at most so long.
    pub(crate) fn wait(&mut self, ends: &Ends, longest: Option<Span>) -> Ready {
        // It could be watched at the start; to change for what costs nothing.
        let _as_at_the_start = self.look_at(ends);
        let mut ready = Ready {
            control: self.control == Watched::Always && ends.control().is_some(),
            status: ends.waits() && (self.status == Watched::Always || self.control == Watched::Always),
            ..Ready::default()
        };
        let longest = if ready.anything() { Some(Span::ZERO) } else { longest };
        let longest = longest.map(|Span(nanos)| Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as i64,
        });
        let mut told = [const { core::mem::MaybeUninit::<Event>::uninit() }; 3];
        // Interrupted (stopped and continued) or not: the caller looks, and comes again.
        let Ok((told, _)) = epoll::wait(&self.epoll, &mut told, longest.as_ref()) else { return ready };
        for event in told {
            let (what, flags) = (event.data.u64(), event.flags);
            if what == Place::Signals as u64 {
                ready.signals = true;
            } else if what == Place::Control as u64 {
                ready.control_gone |= flags.intersects(GONE | EventFlags::RDHUP);
                ready.control |= flags.intersects(GONE | EventFlags::RDHUP | EventFlags::IN);
                // One descriptor may be both.
                ready.status |= flags.contains(EventFlags::OUT);
            } else {
                ready.status |= flags.contains(EventFlags::OUT);
                ready.status_gone |= flags.intersects(GONE);
            }
        }
        ready
    }

    /// Watches what is of interest now, and nothing else: what hung up would wake us for ever.
    fn look_at(&mut self, ends: &Ends) -> Result<(), Errno> {
        if let Some((fd, listening, waits)) = ends.first() {
            let asked = match (listening, waits) {
                (true, true) => Some(EventFlags::IN | EventFlags::RDHUP | EventFlags::OUT),
                (true, false) => Some(EventFlags::IN | EventFlags::RDHUP),
                (false, true) => Some(EventFlags::OUT),
                (false, false) => None,
            };
            self.control.become_so(&self.epoll, fd, Place::Control, asked)?;
        }
        if let Some((fd, speaking, waits)) = ends.second() {
            // Also when nothing is asked of it, that it hung up is told.
            let asked = if waits { EventFlags::OUT } else { EventFlags::empty() };
            self.status.become_so(&self.epoll, fd, Place::Status, speaking.then_some(asked))?;
        }
        Ok(())
    }
}

impl Watched {
    fn become_so(
        &mut self,
        epoll: &OwnedFd,
        fd: BorrowedFd<'_>,
        place: Place,
        asked: Option<EventFlags>,
    ) -> Result<(), Errno> {
        let data = EventData::new_u64(place as u64);
        let made = match (*self, asked) {
            (Watched::For(former), Some(asked)) if former == asked => Ok(()),
            (Watched::For(_), Some(asked)) => epoll::modify(epoll, fd, data, asked),
            (Watched::For(_), None) => epoll::delete(epoll, fd),
            (Watched::Not, Some(asked)) => epoll::add(epoll, fd, data, asked),
            (Watched::Always, Some(_)) => return Ok(()),
            (Watched::Not | Watched::Always, None) => Ok(()),
        };
        *self = match (made, asked) {
            (Ok(()), Some(asked)) => Watched::For(asked),
            // A file, a directory; a descriptor that is only a path.
            (Err(Errno::PERM | Errno::BADF), Some(_)) => Watched::Always,
            (Err(errno), Some(_)) => return Err(errno),
            (_, None) => Watched::Not,
        };
        Ok(())
    }
}
