//! What one line of a controller says.

use core::fmt;

use verger_engine::proxy::{Fields, Name, Order, Triggers, When};
use verger_engine::runs::signal_number;

/// The longest argument list of [`Command::ExitExec`], with its tabs.
const EXIT_EXEC_BYTES: usize = 255;
/// Most seconds of an interval or a time-out.
const SECONDS_MAX: u32 = 2_147_483_647;
/// The last whole second that the clock can come to.
const TIME_MAX: i64 = (u64::MAX / 1_000_000_000 - 1) as i64;
/// How many callers wait to be accepted, where it is not said.
const BACKLOG: u16 = 32;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'l> {
    /// Send this back.
    Echo(&'l [u8]),
    /// Tell everything that is so.
    StateDump,
    /// About a service or a signal.
    Order(Order<'l>),
    /// Make a pipe or a pair of sockets: the end to read, the end to write.
    Pipe(Name, Name, PipeFlags),
    /// Open a file.
    Open(Name, OpenFlags, &'l [u8]),
    /// Make a socket.
    Socket(Name, AddressFlags, Option<&'l [u8]>),
    /// Take a descriptor that came along.
    Take(Name),
    /// Close a handle.
    DeleteHandle(Name),
    /// Go to another folder.
    ChangeFolder(&'l [u8]),
    /// End this connection.
    Exit,
    /// What is logged: a step, or nothing but the question.
    LogFilter(Option<Step<'l>>),
    /// Log to this handle.
    LogTo(Name),
    /// How long this connection may be stuck, seconds: before events are dropped, before it is closed.
    Patience(u32, u32),
    /// Listen for controllers at this path.
    Listen(&'l [u8]),
    /// Listen no more.
    StopListening,
    /// End, with this status and this guard.
    Terminate(i64, Option<i64>),
    /// What is executed in place of an end.
    ExitExec(Fields<'l>),
    /// The end needs this guard (or needs it no more).
    Guard(bool, i64),
}

/// A change of what is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'l> {
    /// One level more is suppressed.
    Up,
    /// One level less.
    Down,
    /// This level and all below.
    To(&'l [u8]),
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they are open(2)'s; `mkdir` makes the folders above")]
pub struct OpenFlags {
    pub read: bool,
    pub write: bool,
    pub append: bool,
    pub create: bool,
    pub trunc: bool,
    pub nonblock: bool,
    pub mkdir: bool,
}

/// A socket's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they say it")]
pub enum Domain {
    #[default]
    Unix,
    Inet,
    Inet6,
}

/// A socket's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they say it")]
pub enum Kind {
    #[default]
    Stream,
    Dgram,
    Seqpacket,
}

/// What a pipe shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PipeFlags {
    /// Both ends do not block.
    pub nonblock: bool,
    /// A pair of sockets instead.
    pub socket: Option<(Domain, Kind)>,
}

/// What a socket shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they are bind(2)'s and listen(2)'s; `mkdir` makes the folders above a path")]
pub struct AddressFlags {
    pub domain: Domain,
    pub kind: Kind,
    pub bind: bool,
    pub listen: Option<u16>,
    pub nonblock: bool,
    pub mkdir: bool,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong<'l> {
    /// There is none of this name.
    Unknown,
    /// This is missing.
    Missing(&'static str),
    /// There is more than it takes.
    Surplus,
    /// This is not a name.
    BadName(&'static str),
    /// This is no number, or none that can be.
    BadNumber(&'static str),
    /// There is no such signal.
    BadSignal(&'l [u8]),
    /// There is no such flag.
    BadFlag(&'l [u8]),
    /// A text holds a NUL byte, which no argument and no path can.
    Nul,
    /// It is longer than can be kept.
    LongList,
    /// To listen or to bind needs an address.
    NoAddress,
    /// The time-out for dropping events comes after the one for closing.
    Order,
    /// Only `fd` can be logged to.
    NotFd,
    /// `-` or nothing is expected there.
    BadOptions,
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Unknown => f.write_str("Unknown command"),
            Wrong::Missing(what) => write!(f, "Missing argument: {what} is expected"),
            Wrong::Surplus => f.write_str("Unexpected argument"),
            Wrong::BadName(what) => {
                write!(f, "Invalid {what}: 1 to 31 of letters, digits, '.', '_', '-' are expected")
            }
            Wrong::BadNumber(what) => write!(f, "Invalid {what}: a number in its range is expected"),
            Wrong::BadSignal(text) => write!(f, "Invalid signal '{}'", text.escape_ascii()),
            Wrong::BadFlag(text) => write!(f, "Unknown flag '{}'", text.escape_ascii()),
            Wrong::Nul => f.write_str("A NUL byte is in the text"),
            Wrong::LongList => write!(f, "Argument list is too long: at most {EXIT_EXEC_BYTES} bytes are expected"),
            Wrong::NoAddress => f.write_str("Cannot bind or listen without an address"),
            Wrong::Order => f.write_str("The reset time-out must not be longer than the close time-out"),
            Wrong::NotFd => f.write_str("Invalid log destination: 'fd' and a handle are expected"),
            Wrong::BadOptions => f.write_str("Invalid options: '-' or nothing is expected"),
        }
    }
}

/// The number of a signal, by its name with or without `SIG`, or by its number. Names are written in capitals, and real-time signals
/// have none.
pub fn signal(text: &[u8]) -> Option<u8> {
    let text = core::str::from_utf8(text).ok()?;
    match text.strip_prefix("SIG").unwrap_or(text) {
        "CLD" => Some(17),
        "IOT" => Some(6),
        "POLL" => Some(29),
        "UNUSED" => Some(31),
        "0" => Some(0),
        name if name.bytes().any(|byte| byte.is_ascii_lowercase()) || name.starts_with("RT") => None,
        _ => signal_number(text),
    }
}

impl<'l> Command<'l> {
    /// Reads a line, without its line feed; `None`: it is blank, or a comment.
    ///
    /// # Errors
    /// It is no command.
    pub fn read(line: &'l [u8]) -> Result<Option<Command<'l>>, Wrong<'l>> {
        if line.first() == Some(&b'#') || line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            return Ok(None);
        }
        let (verb, fields) = match line.iter().position(|byte| *byte == b'\t') {
            Some(at) => (&line[..at], Fields::of(&line[at + 1..])),
            None => (line, Fields::NONE),
        };
        let mut words = Words(fields);
        let command = match verb {
            b"echo" => Command::Echo(fields.text().unwrap_or_default()),
            b"statedump" => Command::StateDump,
            b"service.tags" => Command::Order(Order::Tags(words.name("service name")?, words.0)),
            b"service.args" => Command::Order(Order::Args(words.name("service name")?, words.texts()?)),
            b"service.fds" => {
                let name = words.name("service name")?;
                for handle in words.0.filter(|handle| *handle != b"-") {
                    Name::new(handle).map_err(|_| Wrong::BadName("handle name"))?;
                }
                Command::Order(Order::Fds(name, words.0))
            }
            b"service.auto_up" => Command::Order(auto_up(&mut words)?),
            b"service.start" => {
                let name = words.name("service name")?;
                let when = match words.0.next() {
                    None => When::Now,
                    Some(b"-") => When::Never,
                    Some(text) => When::At(number(text, "time", 0, TIME_MAX)? as u64),
                };
                Command::Order(Order::Start(name, when))
            }
            b"service.signal" => {
                let (name, signal) = (words.name("service name")?, words.signal()?);
                let mut group = false;
                for flag in flags(words.0.next()) {
                    match flag {
                        b"group" => group = true,
                        flag => return Err(Wrong::BadFlag(flag)),
                    }
                }
                Command::Order(Order::Signal { name, signal, group })
            }
            b"service.delete" => Command::Order(Order::Delete(words.name("service name")?)),
            b"signal.clear" => {
                let signal = words.signal()?;
                let count = number(words.word("count")?, "count", 0, i64::from(u32::MAX))? as u32;
                Command::Order(Order::Clear { signal, count })
            }
            b"fd.pipe" => {
                let (read, write) = (words.name("handle name")?, words.name("handle name")?);
                Command::Pipe(read, write, pipe_flags(words.0.next())?)
            }
            b"fd.open" => {
                let (name, flags) = (words.name("handle name")?, open_flags(words.word("flags")?)?);
                Command::Open(name, flags, words.path()?).alone(words)?
            }
            b"fd.socket" => {
                let (name, mut flags) = (words.name("handle name")?, socket_flags(words.word("flags")?)?);
                let address = words.0.next().map(without_nul).transpose()?;
                flags.bind |= address.is_some();
                if flags.bind && address.is_none() {
                    return Err(Wrong::NoAddress);
                }
                Command::Socket(name, flags, address).alone(words)?
            }
            b"fd.take" => Command::Take(words.name("handle name")?),
            b"fd.delete" => Command::DeleteHandle(words.name("handle name")?),
            b"chdir" => Command::ChangeFolder(words.path()?).alone(words)?,
            b"exit" => Command::Exit,
            b"log.filter" => Command::LogFilter(match words.0.next() {
                None | Some(b"") => None,
                Some(b"+") => Some(Step::Up),
                Some(b"-") => Some(Step::Down),
                Some(level) => Some(Step::To(level)),
            }),
            b"log.dest" => {
                if words.word("'fd'")? != b"fd" {
                    return Err(Wrong::NotFd);
                }
                Command::LogTo(words.name("handle name")?)
            }
            b"conn.event_timeout" => {
                let mut seconds = |what| Ok(number(words.word(what)?, what, 0, i64::from(SECONDS_MAX))? as u32);
                let (reset, close) = (seconds("reset time-out")?, seconds("close time-out")?);
                if reset > close {
                    return Err(Wrong::Order);
                }
                Command::Patience(reset, close)
            }
            b"socket.create" => {
                if !matches!(words.word("options ('-')")?, b"" | b"-") {
                    return Err(Wrong::BadOptions);
                }
                Command::Listen(words.path()?)
            }
            b"socket.delete" => Command::StopListening,
            b"terminate" => {
                let code = number(words.word("exit code")?, "exit code", i64::MIN, i64::MAX)?;
                let guard = words.0.next().map(|text| number(text, "guard code", i64::MIN, i64::MAX)).transpose()?;
                Command::Terminate(code, guard)
            }
            b"terminate.exec_args" => {
                if fields.text().is_some_and(|text| text.len() > EXIT_EXEC_BYTES) {
                    return Err(Wrong::LongList);
                }
                Command::ExitExec(words.texts()?)
            }
            b"terminate.guard" => {
                let on = match words.word("'+' or '-'")? {
                    b"+" => true,
                    b"-" => false,
                    other => return Err(Wrong::BadFlag(other)),
                };
                match number(words.word("guard code")?, "guard code", i64::MIN, i64::MAX)? {
                    0 => return Err(Wrong::BadNumber("guard code")),
                    code => Command::Guard(on, code),
                }
            }
            _ => return Err(Wrong::Unknown),
        };
        Ok(Some(command))
    }

    /// It, if nothing comes after it.
    fn alone(self, mut words: Words<'l>) -> Result<Command<'l>, Wrong<'l>> {
        match words.0.next() {
            None => Ok(self),
            Some(_) => Err(Wrong::Surplus),
        }
    }
}

/// The fields that are left.
struct Words<'l>(Fields<'l>);

impl<'l> Words<'l> {
    fn word(&mut self, what: &'static str) -> Result<&'l [u8], Wrong<'l>> {
        self.0.next().ok_or(Wrong::Missing(what))
    }

    fn name(&mut self, what: &'static str) -> Result<Name, Wrong<'l>> {
        Name::new(self.word(what)?).map_err(|_| Wrong::BadName(what))
    }

    fn signal(&mut self) -> Result<u8, Wrong<'l>> {
        let text = self.word("signal")?;
        signal(text).ok_or(Wrong::BadSignal(text))
    }

    fn path(&mut self) -> Result<&'l [u8], Wrong<'l>> {
        match without_nul(self.word("path")?)? {
            b"" => Err(Wrong::Missing("path")),
            path => Ok(path),
        }
    }

    /// All that is left, as arguments of a program.
    fn texts(self) -> Result<Fields<'l>, Wrong<'l>> {
        without_nul(self.0.text().unwrap_or_default())?;
        Ok(self.0)
    }
}

fn without_nul<'l>(text: &'l [u8]) -> Result<&'l [u8], Wrong<'l>> {
    if text.contains(&0) { Err(Wrong::Nul) } else { Ok(text) }
}

fn number<'l>(text: &'l [u8], what: &'static str, least: i64, most: i64) -> Result<i64, Wrong<'l>> {
    let number = core::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    number.filter(|number| (least..=most).contains(number)).ok_or(Wrong::BadNumber(what))
}

fn auto_up<'l>(words: &mut Words<'l>) -> Result<Order<'l>, Wrong<'l>> {
    let name = words.name("service name")?;
    let interval = match words.word("interval")? {
        b"-" => None,
        text => Some(number(text, "interval", 1, i64::from(SECONDS_MAX))? as u32),
    };
    let mut triggers = Triggers::NONE;
    for trigger in words.0 {
        match trigger {
            b"always" => triggers.always = true,
            text => triggers = triggers.with(signal(text).filter(|signal| *signal > 0).ok_or(Wrong::BadSignal(text))?),
        }
    }
    Ok(Order::AutoUp { name, interval, triggers, said: words.0 })
}

/// Words between commas; `-` and nothing are none.
fn flags(text: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let text = text.filter(|text| *text != b"-").unwrap_or_default();
    text.split(|byte| *byte == b',').filter(|flag| !flag.is_empty())
}

fn open_flags(text: &[u8]) -> Result<OpenFlags, Wrong<'_>> {
    let mut open = OpenFlags::default();
    for flag in flags(Some(text)) {
        match flag {
            b"read" => open.read = true,
            b"write" => open.write = true,
            b"append" => open.append = true,
            b"create" => open.create = true,
            b"trunc" => open.trunc = true,
            b"nonblock" => open.nonblock = true,
            b"mkdir" => open.mkdir = true,
            other => return Err(Wrong::BadFlag(other)),
        }
    }
    open.read |= !open.write;
    Ok(open)
}

/// Changes what a flag says of a socket; whether it says anything.
fn socket_flag(flag: &[u8], domain: &mut Domain, kind: &mut Kind) -> bool {
    match flag {
        b"unix" => *domain = Domain::Unix,
        b"inet" => *domain = Domain::Inet,
        b"inet6" => *domain = Domain::Inet6,
        b"stream" => *kind = Kind::Stream,
        b"dgram" => *kind = Kind::Dgram,
        b"seqpacket" => *kind = Kind::Seqpacket,
        b"tcp" => (*domain, *kind) = (Domain::Inet, Kind::Stream),
        b"udp" => (*domain, *kind) = (Domain::Inet, Kind::Dgram),
        _ => return false,
    }
    true
}

fn pipe_flags(text: Option<&[u8]>) -> Result<PipeFlags, Wrong<'_>> {
    let (mut pipe, mut domain, mut kind) = (PipeFlags::default(), Domain::default(), Kind::default());
    for flag in flags(text) {
        match flag {
            b"nonblock" => pipe.nonblock = true,
            flag if socket_flag(flag, &mut domain, &mut kind) => pipe.socket = Some((domain, kind)),
            other => return Err(Wrong::BadFlag(other)),
        }
    }
    Ok(pipe)
}

fn socket_flags(text: &[u8]) -> Result<AddressFlags, Wrong<'_>> {
    let mut socket = AddressFlags::default();
    for flag in flags(Some(text)) {
        match flag {
            b"bind" => socket.bind = true,
            b"listen" => socket.listen = Some(BACKLOG),
            b"nonblock" => socket.nonblock = true,
            b"mkdir" => socket.mkdir = true,
            flag if socket_flag(flag, &mut socket.domain, &mut socket.kind) => {}
            flag => {
                let count = flag.strip_prefix(b"listen=").ok_or(Wrong::BadFlag(flag))?;
                socket.listen = Some(number(count, "length of the queue", 1, 65535)? as u16);
            }
        }
    }
    socket.bind |= socket.listen.is_some();
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> String {
        Command::read(line.as_bytes()).expect_err(line).to_string()
    }

    fn read(line: &str) -> Command<'_> {
        Command::read(line.as_bytes()).expect(line).expect(line)
    }

    #[test]
    fn comments_and_blank_lines_say_nothing() {
        for line in ["", "#", "# x\ty", " \t \r", "\r"] {
            assert_eq!(Command::read(line.as_bytes()), Ok(None), "{line:?}");
        }
        assert_eq!(wrong(" echo\tx"), "Unknown command");
        assert_eq!(wrong("Echo\tx"), "Unknown command");
    }

    #[test]
    fn no_field_and_an_empty_field_are_two_things() {
        let name = Name::new(b"a").unwrap();
        assert_eq!(read("service.args\ta"), Command::Order(Order::Args(name, Fields::NONE)));
        assert_eq!(read("service.args\ta\t"), Command::Order(Order::Args(name, Fields::of(b""))));
        assert_eq!(read("service.args\ta\tx\t\ty"), Command::Order(Order::Args(name, Fields::of(b"x\t\ty"))));
        assert_eq!(read("echo"), Command::Echo(b""));
        assert_eq!(read("echo\ta\t"), Command::Echo(b"a\t"));
    }

    #[test]
    fn names_have_1_to_31_bytes() {
        let longest = "x".repeat(31);
        assert!(matches!(read(&format!("fd.delete\t{longest}")), Command::DeleteHandle(_)));
        for bad in ["", "x".repeat(32).as_str(), "a b", "ü", "a/b"] {
            assert!(wrong(&format!("fd.delete\t{bad}")).starts_with("Invalid handle name"), "{bad}");
        }
        assert_eq!(wrong("fd.delete"), "Missing argument: handle name is expected");
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("TERM", Some(15)),
            ("15", Some(15)),
            ("CLD", Some(17)),
            ("SIGIOT", Some(6)),
            ("0", Some(0)),
            ("BOGUS", None),
            ("term", None),
            ("SIGRTMIN", None),
            ("65", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(signal(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn flags_are_what_they_are_called() {
        let Command::Open(_, open, path) = read("fd.open\ta\twrite,create,mkdir\t/x") else { panic!() };
        assert_eq!(open, OpenFlags { write: true, create: true, mkdir: true, ..OpenFlags::default() });
        assert_eq!(path, b"/x");
        let Command::Open(_, open, _) = read("fd.open\ta\t\t/x") else { panic!() };
        assert!(open.read);
        let Command::Socket(_, socket, address) = read("fd.socket\ta\tudp\t*:1") else { panic!() };
        assert_eq!((socket.domain, socket.kind, socket.bind, socket.listen), (Domain::Inet, Kind::Dgram, true, None));
        assert_eq!(address, Some(&b"*:1"[..]));
        let Command::Socket(_, socket, _) = read("fd.socket\ta\ttcp,listen=11\t*") else { panic!() };
        assert_eq!(socket.listen, Some(11));
        let Command::Pipe(_, _, pipe) = read("fd.pipe\ta\tb") else { panic!() };
        assert_eq!(pipe, PipeFlags::default());
        let Command::Pipe(_, _, pipe) = read("fd.pipe\ta\tb\tdgram,nonblock") else { panic!() };
        assert_eq!(pipe, PipeFlags { nonblock: true, socket: Some((Domain::Unix, Kind::Dgram)) });
        assert_eq!(wrong("fd.socket\ta\ttcp,listen"), "Cannot bind or listen without an address");
        assert_eq!(wrong("fd.open\ta\tread,bogus\t/x"), "Unknown flag 'bogus'");
        assert_eq!(wrong("fd.open\ta\tread\t/x\ty"), "Unexpected argument");
        assert!(wrong("fd.socket\ta\tlisten=0\t/x").starts_with("Invalid length of the queue"));
    }

    /// Lines made of pieces of real ones, cut, doubled and spoiled: none is too strange, and no complaint is more than a line.
    #[test]
    fn whatever_is_said_is_read_or_refused_in_one_line() {
        const PIECES: [&[u8]; 40] = [
            b"echo",
            b"statedump",
            b"service.tags",
            b"service.args",
            b"service.fds",
            b"service.auto_up",
            b"service.start",
            b"service.signal",
            b"service.delete",
            b"signal.clear",
            b"fd.pipe",
            b"fd.open",
            b"fd.socket",
            b"fd.take",
            b"fd.delete",
            b"chdir",
            b"log.filter",
            b"log.dest",
            b"conn.event_timeout",
            b"socket.create",
            b"terminate",
            b"terminate.exec_args",
            b"terminate.guard",
            b"a",
            b"-",
            b"+",
            b"",
            b"always",
            b"SIGHUP",
            b"1",
            b"-1",
            b"9223372036854775808",
            b"unix,stream,listen=3",
            b"read,write,\xff",
            b"/x\0y",
            b"fd",
            b"\r",
            b"\n",
            b"#",
            b" ",
        ];
        let mut luck = 1u64;
        let mut next = |below: usize| {
            luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (luck >> 33) as usize % below
        };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..200_000 {
            let mut line: Vec<u8> = Vec::new();
            for at in 0..=next(5) {
                if at > 0 {
                    line.push(b'\t');
                }
                line.extend_from_slice(PIECES[next(PIECES.len())]);
            }
            if next(4) == 0 && !line.is_empty() {
                let at = next(line.len());
                line[at] = next(256) as u8;
            }
            match Command::read(&line) {
                Ok(_) => read += 1,
                Err(wrong) => {
                    refused += 1;
                    let mut event = Vec::new();
                    super::super::event::error(&mut event, &wrong, &line);
                    assert!(!event.contains(&b'\n') && event.len() < 1024, "{}", event.escape_ascii());
                }
            }
        }
        assert!(read > 10_000 && refused > 10_000, "{read} were read, {refused} refused");
    }

    #[test]
    fn numbers_keep_their_range() {
        for line in [
            "service.auto_up\ta\t0\talways",
            "service.auto_up\ta\t2147483648\talways",
            "service.auto_up\ta\tx",
            "signal.clear\tHUP\t-1",
            "signal.clear\tHUP\t1.5",
            "conn.event_timeout\t1",
            "conn.event_timeout\t3\t2",
            "conn.event_timeout\t-1\t2",
            "terminate\tx",
            "terminate.guard\t+\t0",
            "terminate.guard\t*\t1",
            "service.start\ta\t-5",
        ] {
            wrong(line);
        }
        assert_eq!(read("terminate\t-1\t54321"), Command::Terminate(-1, Some(54321)));
        assert!(Command::read(b"service.args\ta\tx\0y").is_err());
    }
}
