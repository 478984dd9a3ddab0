//! The board: the status page of this instance, as a file that the daemon maps and readers map too.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use verger_engine::Engine;
use verger_engine::budget::Patience;
use verger_engine::life::Haste;
use verger_engine::runs::RunId;
use verger_engine::time::Moment;
use verger_linux::memory::{Layout, Shared, hold};
use verger_wire::board::{
    BoardError, CHANGES, Entry, GroupRecord, Identity, Name, OWNER, Reader, Record, Slices, State, WORDS32, Writer,
    words64_with,
};
use verger_wire::place::BOARD_FILE;

/// The page being written.
pub(crate) struct Page {
    shared: &'static Shared,
    writer: Writer<'static>,
    slots: u32,
    groups: u32,
    changed: bool,
}

/// What a former daemon of this instance left on its page.
pub(crate) struct Left {
    pub(crate) entries: Vec<Entry>,
    /// Where its groups were.
    pub(crate) groups: Vec<GroupRecord>,
    pub(crate) next_run: RunId,
    /// How everything was being ended, if it was.
    pub(crate) ending: Option<Ending>,
    /// The former daemon's own facts.
    pub(crate) identity: Identity,
}

/// How everything is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// When it is to be over; never, if there is no such time.
    pub(crate) over_at: Moment,
    pub(crate) haste: Haste,
}

impl Ending {
    /// What has to be said to make it so again.
    pub(crate) fn patience(self, now: Moment) -> impl Iterator<Item = Patience> {
        let first = match self.over_at {
            Moment::NEVER => Patience::Full,
            over_at => Patience::Within(over_at.since(now)),
        };
        let more = match self.haste {
            Haste::No => None,
            // At once, whatever the order, comes of the time that is up by itself.
            Haste::NoGraces | Haste::NoOrder => Some(Patience::Spent),
        };
        [first].into_iter().chain(more)
    }
}

fn file_name() -> CString {
    CString::new(BOARD_FILE).unwrap_or_default()
}

/// What the page is called until it is published.
const UNPUBLISHED: &CStr = c"board.new";

/// Why nothing is known of a page that is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Illegible {
    /// It was not made as this program makes it: nothing of it is believed.
    Strange(BoardError),
    /// It cannot be looked at.
    Closed(Errno),
}

impl std::fmt::Display for Illegible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Illegible::Strange(error) => error.fmt(f),
            Illegible::Closed(errno) => write!(f, "it cannot be read: {errno}"),
        }
    }
}

impl From<BoardError> for Illegible {
    fn from(error: BoardError) -> Illegible {
        Illegible::Strange(error)
    }
}

/// Reads the page that a former daemon left; `None` when there is none.
///
/// # Errors
/// It is there, and is not understood or cannot be read.
pub(crate) fn left_in(folder: BorrowedFd<'_>) -> Result<Option<Left>, Illegible> {
    let file = rustix::fs::openat(
        folder,
        file_name(),
        rustix::fs::OFlags::RDONLY
            | rustix::fs::OFlags::CLOEXEC
            | rustix::fs::OFlags::NONBLOCK
            | rustix::fs::OFlags::NOFOLLOW,
        rustix::fs::Mode::empty(),
    );
    let file = match file {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Illegible::Closed(errno)),
    };
    let bytes = rustix::fs::fstat(&file).map_err(Illegible::Closed)?.st_size as u64;
    let words64 = verger_wire::board::words64_in(bytes).ok_or(BoardError::NotABoard)?;
    let shared = Shared::open(folder, &file_name(), Layout { words32: WORDS32, words64 });
    let shared = shared.map_err(|errno| match errno {
        Errno::INVAL => Illegible::Strange(BoardError::Cut),
        errno => Illegible::Closed(errno),
    })?;
    let reader = Reader::new(Slices { words32: shared.words32(), words64: shared.words64() })?;
    Ok(Some(Left {
        entries: reader.left().collect(),
        groups: reader.groups().collect(),
        next_run: reader.next_run(),
        ending: (reader.state() == Ok(State::Ending))
            .then(|| Ending { over_at: reader.over_at(), haste: reader.haste().unwrap_or(Haste::No) }),
        identity: *reader.identity(),
    }))
}

impl Page {
    /// Makes the page anew, with room for so many services. The calling thread holds it: however it ends, the kernel says so
    /// to the readers. Until it is [published](Page::publish) the one of the former daemon stays where it is: who comes back
    /// and breaks again before it has taken up everything still finds it.
    ///
    /// # Errors
    /// Why the file cannot be made.
    pub(crate) fn make(folder: BorrowedFd<'_>, identity: &Identity, slots: u32, groups: u32) -> Result<Page, Errno> {
        match rustix::fs::unlinkat(folder, UNPUBLISHED, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let layout = Layout { words32: WORDS32, words64: words64_with(slots, groups) };
        let shared: &'static Shared = Box::leak(Box::new(Shared::create(folder, UNPUBLISHED, 0o600, layout)?));
        let memory = Slices { words32: shared.words32(), words64: shared.words64() };
        let writer = Writer::format_with_groups(memory, identity, slots, groups).map_err(|_| Errno::INVAL)?;
        hold(&shared.words32()[OWNER])?;
        Ok(Page { shared, writer, slots, groups, changed: false })
    }

    /// From here on readers find this page. Those of the former one keep what they have mapped; it says that its owner died.
    ///
    /// # Errors
    /// Why the file cannot get its name.
    pub(crate) fn publish(&self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::renameat(folder, UNPUBLISHED, folder, file_name())
    }

    /// Shows what a former daemon showed, and no more: for one that takes nothing up.
    pub(crate) fn show_again(&mut self, left: &Left) {
        self.writer.set_next_run(left.next_run);
        for entry in left.entries.iter().filter(|entry| entry.slot < self.slots) {
            self.writer.settle(entry.slot, &entry.name, &entry.record);
        }
        for (at, group) in (0..self.groups).zip(&left.groups) {
            self.writer.put_group(at, Some(group));
        }
        self.changed = true;
    }

    /// Writes what is shown of the service in a slot.
    pub(crate) fn put(&mut self, engine: &Engine, slot: u32) {
        let Some(status) = engine.status(slot) else { return };
        self.writer.set_next_run(engine.next_run());
        self.writer.put(slot, &Record::of(&status));
        self.changed = true;
    }

    /// Writes every service, with its name, and which plan is in force.
    pub(crate) fn put_all(&mut self, engine: &Engine) {
        self.writer.set_next_run(engine.next_run());
        for status in engine.services() {
            let slot = status.service.slot;
            if let Some(name) = Name::new(engine.name(slot)) {
                self.writer.settle(slot, &name, &Record::of(&status));
            }
        }
        if let Some(image) = engine.plan() {
            self.writer.set_plan(image.digest());
        }
        self.changed = true;
    }

    /// Writes what is shown of the group in a place.
    pub(crate) fn put_group(&mut self, engine: &Engine, at: u32) {
        if at >= self.groups {
            return;
        }
        let record = engine.group_status(at).and_then(|status| {
            let described = engine.group_description(at)?;
            let target = Name::new(described.target(status.target).name())?;
            let (name, phase) = (Name::new(described.name()), status.phase);
            Some(GroupRecord { name, target, phase, since: status.since, failures: status.failures })
        });
        self.writer.put_group(at, record.as_ref());
        self.changed = true;
    }

    /// Writes what is shown of all of them.
    pub(crate) fn put_groups(&mut self, engine: &Engine) {
        for at in 0..self.groups {
            self.put_group(engine, at);
        }
    }

    /// Nobody lives in a slot any more.
    pub(crate) fn clear(&mut self, slot: u32) {
        self.writer.clear(slot);
        self.changed = true;
    }

    /// The name that a slot is shown under.
    pub(crate) fn name(&self, slot: u32) -> Option<Name> {
        let memory = Slices { words32: self.shared.words32(), words64: self.shared.words64() };
        Some(Reader::new(memory).ok()?.read(slot).ok()??.name)
    }

    /// Tells what the daemon is about, and how everything is being ended, if it is.
    pub(crate) fn set_state(&mut self, state: State, ending: Option<Ending>) {
        self.writer.set_over_at(ending.map_or(Moment::NEVER, |ending| ending.over_at));
        self.writer.set_haste(ending.map_or(Haste::No, |ending| ending.haste));
        self.writer.set_state(state);
        self.changed = true;
    }

    pub(crate) fn begin_turn(&self, now: Moment) {
        self.writer.begin_turn(now);
    }

    /// Promises when the next turn begins at the latest, and wakes whoever waits for a change.
    pub(crate) fn end_turn(&mut self, due: Moment) {
        self.writer.end_turn(due);
        if std::mem::take(&mut self.changed) {
            self.writer.changed();
            self.shared.wake(CHANGES, u32::MAX);
        }
    }

    /// The daemon ends in order: nobody holds the page any more.
    pub(crate) fn let_go(&self) {
        self.shared.words32()[OWNER].store(0, std::sync::atomic::Ordering::Release);
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use verger_wire::board::{HEADER_WORDS, RECORD_WORDS};

    #[test]
    fn a_page_takes_the_place_of_the_former_one_when_it_is_published() {
        let path = std::env::temp_dir().join(format!("verger-page-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = std::fs::File::open(&path).unwrap();
        let identity = |pid| Identity { pid, boot_id: 1, instance: Name::new("x").unwrap(), started_at: Moment(1) };
        let next = |run| Left {
            entries: Vec::<Entry>::new(),
            groups: Vec::new(),
            next_run: RunId(run),
            ending: None,
            identity: identity(1),
        };
        let there = || left_in(folder.as_fd()).unwrap().map(|left| (left.identity.pid, left.next_run));

        let mut first = Page::make(folder.as_fd(), &identity(1), 2, 1).unwrap();
        first.show_again(&next(7));
        assert_eq!(there(), None);
        first.publish(folder.as_fd()).unwrap();
        assert_eq!(there(), Some((1, RunId(7))));

        // One that broke before it could publish, and the next try.
        let _second = Page::make(folder.as_fd(), &identity(2), 2, 1).unwrap();
        let mut third = Page::make(folder.as_fd(), &identity(3), 2, 1).unwrap();
        third.show_again(&next(8));
        assert_eq!(there(), Some((1, RunId(7))), "the former one is not lost before the new one is whole");
        third.publish(folder.as_fd()).unwrap();
        assert_eq!(there(), Some((3, RunId(8))));

        let ending = || left_in(folder.as_fd()).unwrap().unwrap().ending;
        assert_eq!(ending(), None);
        for haste in Haste::ALL {
            for over_at in [Moment::NEVER, Moment(9)] {
                third.set_state(State::Ending, Some(Ending { over_at, haste: *haste }));
                assert_eq!(ending(), Some(Ending { over_at, haste: *haste }));
            }
        }
        third.set_state(State::Serving, None);
        assert_eq!(ending(), None);
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_page_of_another_layout_is_refused_by_name_and_another_takes_its_place() {
        use std::os::unix::fs::FileExt;

        let path = std::env::temp_dir().join(format!("verger-page-other-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = std::fs::File::open(&path).unwrap();
        let identity = Identity { pid: 1, boot_id: 1, instance: Name::new("x").unwrap(), started_at: Moment(1) };
        let page = || Page::make(folder.as_fd(), &identity, 2, 1).unwrap().publish(folder.as_fd()).unwrap();
        let seen = || left_in(folder.as_fd()).map(|left| left.map(|left| left.next_run));
        let board = || std::fs::File::options().write(true).open(path.join(BOARD_FILE)).unwrap();
        let low_high = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_ne_bytes();
        const FIRST: u64 = 4 * WORDS32 as u64;
        assert_eq!(seen(), Ok(None), "there is none");
        page();
        assert_eq!(seen(), Ok(Some(RunId(1))));
        let found = verger_wire::board::VERSION + 1;
        board().write_at(&low_high(found, HEADER_WORDS as u32), FIRST + 8).unwrap();
        assert_eq!(seen(), Err(Illegible::Strange(BoardError::OtherVersion { found })));
        page();
        assert_eq!(seen(), Ok(Some(RunId(1))), "it is made anew");
        // Another layout that forgot to say so.
        board().write_at(&low_high(RECORD_WORDS as u32 + 1, 8), FIRST + 16).unwrap();
        assert_eq!(seen(), Err(Illegible::Strange(BoardError::Damaged { slot: None })));
        page();
        board().set_len(FIRST + 8 * HEADER_WORDS as u64).unwrap();
        assert_eq!(seen(), Err(Illegible::Strange(BoardError::Cut)));
        board().set_len(7).unwrap();
        assert_eq!(seen(), Err(Illegible::Strange(BoardError::NotABoard)));
        std::fs::remove_file(path.join(BOARD_FILE)).unwrap();
        std::os::unix::fs::symlink("nowhere", path.join(BOARD_FILE)).unwrap();
        assert_eq!(seen(), Err(Illegible::Closed(Errno::LOOP)), "there is something, and it cannot be read");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
