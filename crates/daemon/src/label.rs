//! What a descriptor is that outlives its daemon: the label it carries on the list that a self-exec passes on, in the keeper's
//! table, and on the way to the next daemon. Fifteen words, always: the keeper parses nothing.

use verger_engine::runs::{Containment, Pid, RunId};
use verger_linux::exec::PASSED_WORDS;
use verger_wire::board::{NAME_WORDS, Name};

use crate::file_id::FileId;

/// The form of labels and messages. A daemon of another version takes nothing that has another.
pub(crate) const FORM: u32 = 1;

/// A label as words.
pub(crate) type Words = [u64; PASSED_WORDS];

/// What a descriptor is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The lock of the runtime folder.
    Lock = 1,
    /// The control socket.
    Door = 2,
    /// The socket at which the keeper hands over.
    Handover = 3,
    /// The keeper's process.
    Keeper = 4,
    /// Where the daemon was when it made the cgroup tree.
    TreeBase = 5,
    /// The cgroup tree.
    TreeRoot = 6,
    /// An end of a pipe that the plan names: 0 to read, 1 to write.
    Pipe = 7,
    /// The notify socket of a run.
    Notify = 8,
    /// Our end of the readiness pipe of a run.
    Ready = 9,
    /// The main process of a run.
    Process = 10,
    /// Our end of the socket of a run's shim: when it closes, the shim ends its tree.
    Shim = 11,
    /// A socket of the plan that listens.
    Socket = 12,
    /// A memory handle of the plan, as the last service to write to it had it.
    Memory = 13,
}

const KINDS: [Kind; 13] = [
    Kind::Lock,
    Kind::Door,
    Kind::Handover,
    Kind::Keeper,
    Kind::TreeBase,
    Kind::TreeRoot,
    Kind::Pipe,
    Kind::Notify,
    Kind::Ready,
    Kind::Process,
    Kind::Shim,
    Kind::Socket,
    Kind::Memory,
];

/// What is known of a descriptor beside its number. What does not apply is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    /// Which end of a pipe.
    pub(crate) end: u8,
    /// Whether its run outlives the daemon.
    pub(crate) survives: bool,
    /// What holds its run.
    pub(crate) containment: Containment,
    pub(crate) run: RunId,
    /// The main process of its run, and when the kernel says it began. The latter is a Unix socket's file's number.
    pub(crate) pid: u32,
    pub(crate) started: u64,
    /// Of a shim: what number the main process of its run has below it. The other two are the shim's own then. Of a Unix socket: the
    /// device that its file is on.
    pub(crate) inner: u32,
    /// The service, or the handle.
    pub(crate) name: Option<Name>,
}

impl Label {
    /// A label of something that there is once.
    pub(crate) fn of(kind: Kind) -> Label {
        Label {
            kind,
            end: 0,
            survives: false,
            containment: Containment::None,
            run: RunId::NONE,
            pid: 0,
            started: 0,
            inner: 0,
            name: None,
        }
    }

    /// Whether both say the same thing of the same: a later one takes the earlier one's place.
    pub(crate) fn is_same(&self, other: &Label) -> bool {
        let handle = !self.is_of_the_plan() || (self.end, self.name) == (other.end, other.name);
        (self.kind, self.run) == (other.kind, other.run) && handle
    }

    /// Whether it is a handle of the plan, and no run's.
    pub(crate) fn is_of_the_plan(&self) -> bool {
        matches!(self.kind, Kind::Pipe | Kind::Socket | Kind::Memory)
    }

    /// A socket's with the file that is its name. Device numbers of the kernel have 32 bits.
    pub(crate) fn with_file(self, file: Option<FileId>) -> Label {
        let file = file.unwrap_or(FileId { device: 0, number: 0 });
        Label { started: file.number, inner: file.device as u32, ..self }
    }

    /// The file that is a socket's name.
    pub(crate) fn file(&self) -> FileId {
        FileId { device: u64::from(self.inner), number: self.started }
    }

    /// The main process of its run.
    pub(crate) fn pid(&self) -> Option<Pid> {
        Some(Pid(self.pid)).filter(|pid| pid.0 != 0)
    }

    pub(crate) fn words(&self) -> Words {
        let codes = [
            (0, self.kind as u8),
            (8, self.end),
            (16, u8::from(self.survives)),
            (24, self.containment.code()),
            (32, self.name.map_or(0, |name| name.length())),
        ];
        let mut words = [0; PASSED_WORDS];
        words[0] = codes.iter().fold(0, |word, (at, code)| word | u64::from(*code) << at);
        words[1..4].copy_from_slice(&[self.run.0, self.started, u64::from(self.pid)]);
        words[4 + NAME_WORDS] = u64::from(self.inner);
        if let Some(name) = self.name {
            words[4..4 + NAME_WORDS].copy_from_slice(&name.words());
        }
        words
    }

    /// `None`: they are no label.
    pub(crate) fn from_words(words: &Words) -> Option<Label> {
        let code = |at: u32| (words[0] >> at) as u8;
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == code(0))?;
        let mut name = [0; NAME_WORDS];
        name.copy_from_slice(&words[4..4 + NAME_WORDS]);
        let label = Label {
            kind,
            end: code(8),
            survives: code(16) != 0,
            containment: Containment::from_code(code(24))?,
            run: RunId(words[1]),
            started: words[2],
            pid: u32::try_from(words[3]).ok()?,
            inner: u32::try_from(words[4 + NAME_WORDS]).ok()?,
            name: if code(32) == 0 { None } else { Some(Name::from_words(&name, code(32))?) },
        };
        Some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back() {
        for kind in KINDS {
            let plain = Label::of(kind);
            let full = Label {
                end: 1,
                survives: true,
                containment: Containment::Cgroup,
                run: RunId(u64::MAX),
                pid: u32::MAX,
                started: 1 << 40,
                inner: 2,
                name: Name::new(&"x".repeat(64)),
                ..plain
            };
            for label in [plain, full] {
                assert_eq!(Label::from_words(&label.words()), Some(label));
            }
        }
        assert_eq!(Label::from_words(&[0; PASSED_WORDS]), None);
        assert_eq!(Label::from_words(&[u64::MAX; PASSED_WORDS]), None);
    }

    #[test]
    fn what_there_is_once_takes_the_place_of_the_former() {
        let pipe = |end, name| Label { end, name: Name::new(name), ..Label::of(Kind::Pipe) };
        assert!(pipe(0, "log").is_same(&pipe(0, "log")));
        assert!(!pipe(0, "log").is_same(&pipe(1, "log")) && !pipe(0, "log").is_same(&pipe(0, "trace")));
        let socket = |name| Label { name: Name::new(name), ..Label::of(Kind::Socket) };
        assert!(socket("http").is_same(&socket("http").with_file(Some(FileId { device: 1, number: 2 }))));
        assert!(!socket("http").is_same(&socket("admin")) && !socket("log").is_same(&pipe(0, "log")));
        let process = |run, survives| Label { run: RunId(run), survives, ..Label::of(Kind::Process) };
        assert!(process(1, true).is_same(&process(1, false)) && !process(1, true).is_same(&process(2, true)));
    }
}
