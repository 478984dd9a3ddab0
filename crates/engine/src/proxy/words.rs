//! What a controller says to a proxy about services, and why it is refused.

use core::fmt;

/// The longest name of a service or a handle, in bytes.
pub const NAME_BYTES: usize = 31;

/// A name that keeps the rule: 1 to 31 bytes of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    length: u8,
    bytes: [u8; NAME_BYTES],
}

impl Name {
    /// This name.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn new(bytes: &[u8]) -> Result<Name, Refusal> {
        let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if bytes.is_empty() || bytes.len() > NAME_BYTES || !bytes.iter().all(is_one) {
            return Err(Refusal::BadName);
        }
        let mut name = Name { length: bytes.len() as u8, bytes: [0; NAME_BYTES] };
        name.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(name)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.as_bytes()).unwrap_or("?"))
    }
}

/// A list of fields as a line has it: between tabs. No field at all and one empty field are two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'l>(Option<&'l [u8]>);

impl<'l> Fields<'l> {
    /// No field.
    pub const NONE: Fields<'static> = Fields(None);

    /// The fields of a text without a line end; an empty text is one empty field.
    pub fn of(text: &'l [u8]) -> Fields<'l> {
        Fields(Some(text))
    }

    /// As a line has them; `None`: there is none.
    pub fn text(self) -> Option<&'l [u8]> {
        self.0
    }

    /// Those after the first.
    pub fn rest(mut self) -> Fields<'l> {
        let _first = self.next();
        self
    }
}

impl<'l> Iterator for Fields<'l> {
    type Item = &'l [u8];

    fn next(&mut self) -> Option<&'l [u8]> {
        let text = self.0?;
        match text.iter().position(|byte| *byte == b'\t') {
            Some(at) => {
                self.0 = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => {
                self.0 = None;
                Some(text)
            }
        }
    }
}

/// When a service is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// At this second of the monotonic clock.
    At(u64),
    /// A start that waits is called off.
    Never,
}

/// What starts a service by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Triggers {
    /// Whenever it is down.
    pub always: bool,
    /// While one of these signals waits to be cleared, bit by bit.
    pub signals: u64,
}

impl Triggers {
    /// None.
    pub const NONE: Triggers = Triggers { always: false, signals: 0 };

    /// Whether there is any.
    pub fn is_some(self) -> bool {
        self != Triggers::NONE
    }

    /// With this signal.
    pub fn with(self, signal: u8) -> Triggers {
        Triggers { signals: self.signals | 1 << (signal & 63), ..self }
    }

    /// Whether this signal is one.
    pub fn has(self, signal: u8) -> bool {
        self.signals & 1 << (signal & 63) != 0
    }
}

/// What a controller wants of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'l> {
    /// Its free words are these.
    Tags(Name, Fields<'l>),
    /// Its program and arguments are these.
    Args(Name, Fields<'l>),
    /// The handles on its descriptors, from 0 on, are these.
    Fds(Name, Fields<'l>),
    /// It is started by itself.
    AutoUp {
        /// Which service.
        name: Name,
        /// A run that ended before so many seconds is not followed by another before as many have passed. `None`: as it was.
        interval: Option<u32>,
        /// By what.
        triggers: Triggers,
        /// The same, as they were said.
        said: Fields<'l>,
    },
    /// It is to be started.
    Start(Name, When),
    /// Its process gets a signal.
    Signal {
        /// Which service.
        name: Name,
        /// The signal.
        signal: u8,
        /// The process group that it leads gets it.
        group: bool,
    },
    /// It is forgotten.
    Delete(Name),
    /// So many of this signal have been dealt with.
    Clear {
        /// The signal.
        signal: u8,
        /// How many.
        count: u32,
    },
}

/// Why an order is not carried out. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A name is not 1 to 31 bytes of letters, digits, `.`, `_` and `-`.
    BadName,
    /// There is no such service.
    NoService,
    /// The pool of services is used up.
    NoSlot,
    /// What belongs to the service does not fit into its room.
    NoRoom,
    /// It runs.
    Up,
    /// It does not run.
    NotUp,
    /// It has no arguments, so no program.
    NoArgs,
    /// The time is over.
    Past,
    /// No start waits.
    NothingWaits,
    /// It leads no process group.
    NoGroup,
    /// Somebody who outranks the controllers has it.
    Held,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::BadName => "Invalid name: 1 to 31 of letters, digits, '.', '_', '-' are expected",
            Refusal::NoService => "No such service",
            Refusal::NoSlot => "Unable to allocate a new service: the pool is used up",
            Refusal::NoRoom => "Not enough room for the data of this service",
            Refusal::Up => "Service is running",
            Refusal::NotUp => "Service is not running",
            Refusal::NoArgs => "Service has no arguments, so no program to start",
            Refusal::Past => "Start time is over already",
            Refusal::NothingWaits => "No start is waiting to be cancelled",
            Refusal::NoGroup => "Service does not lead a process group",
            Refusal::Held => "Service was taken back from its brain, and starts by command only",
        })
    }
}
