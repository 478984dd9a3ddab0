//! What is asked: each method with its parameters, read from a message and written to one.

use core::fmt;
use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use verger_engine::runs::signal_number;

use super::fields::{Fields, Flaw, shown};
use super::{Error, signal_text};
use crate::digest;
use crate::frame::is_object;
use crate::interface::{self, Offer};
use crate::word::spoken_enum;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// The most names in one call. 10 000 of the longest are less than a message may hold (66 bytes x 10 000 < 1 MiB), and
/// 10 000 short ones take less than 1 MiB once they are read; whoever wants more asks for all.
pub const NAMES_MAX: usize = 10_000;

spoken_enum! {
    /// What a test may ask a daemon to break.
    Breakage {
        /// An invariant is found broken at a service.
        Fault = "fault";
        /// The daemon panics, on the thread that leads its loop.
        Panic = "panic";
    }
}

/// A verb for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The service.
    pub name: String,
    /// The answer comes no later than after so many milliseconds; `None` is patience without end.
    pub timeout_ms: Option<u64>,
    /// Makes a repetition recognisable: 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: Option<String>,
}

impl Order {
    /// A verb for this service, with patience and without a key.
    pub fn new(name: &str) -> Order {
        Order { name: name.to_owned(), timeout_ms: None, key: None }
    }

    /// The key as the engine takes it: see [`key_number`]. 0 is none.
    pub fn key_number(&self) -> u128 {
        self.key.as_deref().map_or(0, key_number)
    }
}

/// A key as the engine takes it: the 128-bit FNV-1a hash of its bytes, never 0.
///
/// Two keys that fall together by design rather than by chance hurt only whoever chose them: a key counts together with
/// the verb and the service, and takes the right to operate.
pub fn key_number(key: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    key.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)).max(1)
}

/// Everything that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// What this daemon is.
    Describe,
    /// Some or all services.
    List {
        /// Which; `None` is all.
        names: Option<Vec<String>>,
    },
    /// Want it up.
    Start(Order),
    /// Want it down.
    Stop(Order),
    /// Down, then up.
    Restart(Order),
    /// Leaves a service alone: its end leads to nothing.
    Ignore(Order),
    /// Supervises a service again.
    Heed(Order),
    /// Says that a condition is so; the order's name is that of the condition.
    Set(Order),
    /// Says that it is so no longer.
    Clear(Order),
    /// Want a service up, by a process that runs already.
    Adopt {
        /// The service.
        name: String,
        /// The process.
        pid: u32,
        /// The answer comes no later.
        timeout_ms: Option<u64>,
    },
    /// Want a group at another target; the order's name is `GROUP/TARGET`, or `TARGET` of the group that has no name.
    Switch(Order),
    /// All groups and their targets.
    Groups,
    /// What a plan would do. The plan comes with the call, as a descriptor.
    Preview {
        /// The digest of the plan that it is to replace; `None`: whichever is in force, 0: there is none.
        from: Option<u64>,
    },
    /// Put a plan in the place of the one in force, on trial. It comes with the call, as a descriptor.
    Apply {
        /// The digest of the plan that it is to replace; `None`: whichever is in force, 0: there is none.
        from: Option<u64>,
        /// Within so many milliseconds everything it touches must have arrived; `None` is two minutes.
        within_ms: Option<u64>,
        /// It is rolled back unless somebody says within so many milliseconds that it is good; `None`: nobody has to.
        confirm_ms: Option<u64>,
    },
    /// Keep the change on trial, or roll it back.
    Decide {
        /// Keep it.
        keep: bool,
    },
    /// Send a signal to the main process.
    Signal {
        /// The service.
        name: String,
        /// The signal's number, 1 to 64.
        signal: u8,
    },
    /// Why a service is as it is.
    Why {
        /// The service.
        name: String,
    },
    /// How a stop went, or goes.
    Receipt {
        /// The service.
        name: String,
        /// Of which run; `None` is the last that was stopped.
        run: Option<u64>,
    },
    /// Tell what happens.
    Watch {
        /// To which; `None` is all.
        names: Option<Vec<String>>,
    },
    /// End everything.
    Shutdown {
        /// Without patience.
        hasty: bool,
        /// Within so many milliseconds.
        budget_ms: Option<u64>,
    },
    /// Replace the daemon's program in place.
    Reexec {
        /// By the one at this absolute path; `None`: by what lies where the present one was executed from.
        program: Option<String>,
    },
    /// Break something, for a test.
    Inject {
        /// What.
        kind: Breakage,
        /// At which service.
        name: Option<String>,
    },
    /// What service is this, and which interfaces has it?
    GetInfo,
    /// The text of an interface.
    GetInterfaceDescription {
        /// Which.
        interface: String,
    },
}

/// A call as it came: what is asked, and how the answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is asked.
    pub call: Call,
    /// Several replies are welcome.
    pub more: bool,
    /// No reply is wanted, not even an error.
    pub oneway: bool,
}

/// Why a message is not answered with what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no varlink call at all. There is nothing to answer: close the connection.
    NotACall,
    /// It is a call that cannot be carried out.
    Refused {
        /// The answer.
        error: Error,
        /// The caller wants no answer.
        oneway: bool,
    },
}

/// What surrounds the parameters. Members that are not known are passed over: varlink itself may grow.
#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow)]
    method: Cow<'m, str>,
    #[serde(borrow, default)]
    parameters: Option<&'m RawValue>,
    #[serde(default)]
    more: Option<bool>,
    #[serde(default)]
    oneway: Option<bool>,
    #[serde(default)]
    upgrade: Option<bool>,
}

/// Reads one message (without its NUL) as a call to what is offered.
///
/// # Errors
/// [`Unreadable`] says whether there is somebody to answer, and what.
pub fn read_call(message: &[u8], offer: Offer) -> Result<Asked, Unreadable> {
    if !is_object(message) {
        return Err(Unreadable::NotACall);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(message).map_err(|_| Unreadable::NotACall)?;
    let (more, oneway) = (envelope.more == Some(true), envelope.oneway == Some(true));
    match envelope.call(offer) {
        Ok(call) => Ok(Asked { call, more, oneway }),
        Err(error) => Err(Unreadable::Refused { error, oneway }),
    }
}

impl Envelope<'_> {
    fn call(&self, offer: Offer) -> Result<Call, Error> {
        let (interface, method) = self.method.rsplit_once('.').unwrap_or(("", &self.method));
        if offer.text(interface).is_none() {
            return Err(Error::InterfaceNotFound { interface: shown(interface) });
        }
        let read = match interface {
            interface::CONTROL => self.control(method),
            interface::DEBUG => self.debug(method),
            _ => self.service(method),
        };
        match read {
            None => Err(Error::MethodNotFound { method: shown(&self.method) }),
            Some(_) if self.upgrade == Some(true) => Err(Error::MethodNotImplemented { method: shown(&self.method) }),
            Some(Ok(call)) => Ok(call),
            Some(Err(flaw)) if interface == interface::SERVICE => {
                Err(Error::InvalidParameter { parameter: flaw.field })
            }
            Some(Err(flaw)) => Err(Error::Invalid { field: flaw.field, expected: flaw.expected }),
        }
    }

    /// `None`: there is no such method.
    fn control(&self, method: &str) -> Option<Result<Call, Flaw>> {
        Some(match method {
            "Describe" => self.fields(&[]).map(|_| Call::Describe),
            "List" => self.fields(&["names"]).and_then(|it| Ok(Call::List { names: it.names()? })),
            "Start" => self.order().map(Call::Start),
            "Stop" => self.order().map(Call::Stop),
            "Restart" => self.order().map(Call::Restart),
            "Ignore" => self.order().map(Call::Ignore),
            "Heed" => self.order().map(Call::Heed),
            "Set" => self.order().map(Call::Set),
            "Clear" => self.order().map(Call::Clear),
            "Adopt" => self.adopt(),
            "Switch" => self.switch().map(Call::Switch),
            "Groups" => self.fields(&[]).map(|_| Call::Groups),
            "Preview" => self.fields(&["from"]).and_then(|it| Ok(Call::Preview { from: it.digest("from")? })),
            "Apply" => self.apply(),
            "Decide" => {
                self.fields(&["keep"]).and_then(|it| Ok(Call::Decide { keep: it.must("keep", "true or false")? }))
            }
            "Signal" => self.signal(),
            "Why" => self.fields(&["name"]).and_then(|it| Ok(Call::Why { name: it.name()? })),
            "Receipt" => self.receipt(),
            "Watch" => self.fields(&["names"]).and_then(|it| Ok(Call::Watch { names: it.names()? })),
            "Shutdown" => self.shutdown(),
            "Reexec" => self.reexec(),
            _ => return None,
        })
    }

    fn debug(&self, method: &str) -> Option<Result<Call, Flaw>> {
        let inject = |it: Fields<'_>| Ok(Call::Inject { kind: it.word("kind")?, name: it.maybe_name()? });
        (method == "Inject").then(|| self.fields(&["kind", "name"]).and_then(inject))
    }

    fn service(&self, method: &str) -> Option<Result<Call, Flaw>> {
        let description = |it: Fields<'_>| {
            let interface = it.must("interface", "the name of an interface")?;
            Ok(Call::GetInterfaceDescription { interface })
        };
        Some(match method {
            "GetInfo" => self.fields(&[]).map(|_| Call::GetInfo),
            "GetInterfaceDescription" => self.fields(&["interface"]).and_then(description),
            _ => return None,
        })
    }

    fn fields(&self, known: &'static [&'static str]) -> Result<Fields<'_>, Flaw> {
        Fields::read(self.parameters, known)
    }

    fn order(&self) -> Result<Order, Flaw> {
        let fields = self.fields(&["name", "timeout_ms", "key"])?;
        let name = fields.name()?;
        self.order_for(&fields, name)
    }

    fn adopt(&self) -> Result<Call, Flaw> {
        let fields = self.fields(&["name", "pid", "timeout_ms"])?;
        let pid = fields.must("pid", A_PID)?;
        if pid == 0 {
            return Err(Flaw { field: "pid".to_owned(), expected: A_PID.to_owned() });
        }
        Ok(Call::Adopt { name: fields.name()?, pid, timeout_ms: fields.maybe("timeout_ms", A_TIME)? })
    }

    fn switch(&self) -> Result<Order, Flaw> {
        let fields = self.fields(&["target", "timeout_ms", "key"])?;
        let target: String = fields.must("target", A_TARGET)?;
        let (group, name) = target.split_once('/').map_or((None, &*target), |(group, name)| (Some(group), name));
        let is_name = |name: &str| verger_engine::names::check_name(name).is_ok();
        if !is_name(name) || !group.is_none_or(is_name) {
            return Err(Flaw { field: "target".to_owned(), expected: A_TARGET.to_owned() });
        }
        self.order_for(&fields, target)
    }

    fn order_for(&self, fields: &Fields<'_>, name: String) -> Result<Order, Flaw> {
        let timeout_ms = fields.maybe("timeout_ms", A_TIME)?;
        let key: Option<String> = fields.maybe("key", A_KEY)?;
        match key {
            Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => {
                Err(Flaw { field: "key".to_owned(), expected: A_KEY.to_owned() })
            }
            key => Ok(Order { name, timeout_ms, key }),
        }
    }

    fn signal(&self) -> Result<Call, Flaw> {
        let fields = self.fields(&["name", "signal"])?;
        let name = fields.name()?;
        let text: String = fields.must("signal", A_SIGNAL)?;
        match signal_number(&text) {
            Some(signal) => Ok(Call::Signal { name, signal }),
            None => Err(Flaw { field: "signal".to_owned(), expected: A_SIGNAL.to_owned() }),
        }
    }

    fn apply(&self) -> Result<Call, Flaw> {
        let fields = self.fields(&["from", "within_ms", "confirm_ms"])?;
        let from = fields.digest("from")?;
        Ok(Call::Apply {
            from,
            within_ms: fields.maybe("within_ms", A_TIME)?,
            confirm_ms: fields.maybe("confirm_ms", A_TIME)?,
        })
    }

    fn receipt(&self) -> Result<Call, Flaw> {
        let fields = self.fields(&["name", "run"])?;
        Ok(Call::Receipt { name: fields.name()?, run: fields.maybe("run", "the number of a run, 1 or more")? })
    }

    fn shutdown(&self) -> Result<Call, Flaw> {
        let fields = self.fields(&["hasty", "budget_ms"])?;
        let hasty: Option<bool> = fields.maybe("hasty", "true or false")?;
        let budget_ms = fields.maybe("budget_ms", A_TIME)?;
        Ok(Call::Shutdown { hasty: hasty.unwrap_or(false), budget_ms })
    }

    fn reexec(&self) -> Result<Call, Flaw> {
        let program: Option<String> = self.fields(&["program"])?.maybe("program", A_PROGRAM)?;
        let is_path = |path: &String| path.starts_with('/') && path.len() < 4096 && !path.contains('\0');
        match program {
            Some(path) if !is_path(&path) => Err(Flaw { field: "program".to_owned(), expected: A_PROGRAM.to_owned() }),
            program => Ok(Call::Reexec { program }),
        }
    }
}

/// What a length of time should be.
const A_TIME: &str = "a whole number of milliseconds, 0 or more";
/// What a program should be.
const A_PROGRAM: &str = "an absolute path of at most 4095 bytes, without NUL";
/// What a key should be.
const A_KEY: &str = "a text of 1 to 64 bytes";
/// What a process should be.
const A_PID: &str = "the number of a process, 1 or more";
/// What a target should be.
const A_TARGET: &str = "the name of a target, or GROUP/TARGET";
/// What a signal should be.
const A_SIGNAL: &str = "a signal as text, by name or number: TERM, SIGTERM, 15, RTMIN+3";

impl Call {
    /// The whole name of the method.
    pub fn method(&self) -> &'static str {
        match self {
            Call::Describe => "io.verger.Control.Describe",
            Call::List { .. } => "io.verger.Control.List",
            Call::Start(_) => "io.verger.Control.Start",
            Call::Stop(_) => "io.verger.Control.Stop",
            Call::Restart(_) => "io.verger.Control.Restart",
            Call::Ignore(_) => "io.verger.Control.Ignore",
            Call::Heed(_) => "io.verger.Control.Heed",
            Call::Set(_) => "io.verger.Control.Set",
            Call::Clear(_) => "io.verger.Control.Clear",
            Call::Adopt { .. } => "io.verger.Control.Adopt",
            Call::Switch(_) => "io.verger.Control.Switch",
            Call::Groups => "io.verger.Control.Groups",
            Call::Preview { .. } => "io.verger.Control.Preview",
            Call::Apply { .. } => "io.verger.Control.Apply",
            Call::Decide { .. } => "io.verger.Control.Decide",
            Call::Signal { .. } => "io.verger.Control.Signal",
            Call::Why { .. } => "io.verger.Control.Why",
            Call::Receipt { .. } => "io.verger.Control.Receipt",
            Call::Watch { .. } => "io.verger.Control.Watch",
            Call::Shutdown { .. } => "io.verger.Control.Shutdown",
            Call::Reexec { .. } => "io.verger.Control.Reexec",
            Call::Inject { .. } => "io.verger.Debug.Inject",
            Call::GetInfo => "org.varlink.service.GetInfo",
            Call::GetInterfaceDescription { .. } => "org.varlink.service.GetInterfaceDescription",
        }
    }

    /// The parameters, to be written.
    pub(crate) fn parameters(&self) -> Parameters<'_> {
        Parameters(self)
    }
}

/// Writes the parameters of a call as an object.
pub(crate) struct Parameters<'c>(&'c Call);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Call::Describe | Call::Groups | Call::GetInfo => {}
            Call::List { names } | Call::Watch { names } => entry(&mut map, "names", names.as_ref())?,
            Call::Start(order)
            | Call::Stop(order)
            | Call::Restart(order)
            | Call::Ignore(order)
            | Call::Heed(order)
            | Call::Set(order)
            | Call::Clear(order) => {
                map.serialize_entry("name", &order.name)?;
                entry(&mut map, "timeout_ms", order.timeout_ms.as_ref())?;
                entry(&mut map, "key", order.key.as_ref())?;
            }
            Call::Adopt { name, pid, timeout_ms } => {
                map.serialize_entry("name", name)?;
                map.serialize_entry("pid", pid)?;
                entry(&mut map, "timeout_ms", timeout_ms.as_ref())?;
            }
            Call::Switch(order) => {
                map.serialize_entry("target", &order.name)?;
                entry(&mut map, "timeout_ms", order.timeout_ms.as_ref())?;
                entry(&mut map, "key", order.key.as_ref())?;
            }
            Call::Preview { from } => entry(&mut map, "from", from.map(digest::to_text).as_ref())?,
            Call::Apply { from, within_ms, confirm_ms } => {
                entry(&mut map, "from", from.map(digest::to_text).as_ref())?;
                entry(&mut map, "within_ms", within_ms.as_ref())?;
                entry(&mut map, "confirm_ms", confirm_ms.as_ref())?;
            }
            Call::Decide { keep } => map.serialize_entry("keep", keep)?,
            Call::Signal { name, signal } => {
                map.serialize_entry("name", name)?;
                map.serialize_entry("signal", &signal_text(*signal))?;
            }
            Call::Why { name } => map.serialize_entry("name", name)?,
            Call::Shutdown { hasty, budget_ms } => {
                entry(&mut map, "hasty", hasty.then_some(&true))?;
                entry(&mut map, "budget_ms", budget_ms.as_ref())?;
            }
            Call::Receipt { name, run } => {
                map.serialize_entry("name", name)?;
                entry(&mut map, "run", run.as_ref())?;
            }
            Call::Reexec { program } => entry(&mut map, "program", program.as_ref())?,
            Call::Inject { kind, name } => {
                map.serialize_entry("kind", kind)?;
                entry(&mut map, "name", name.as_ref())?;
            }
            Call::GetInterfaceDescription { interface } => map.serialize_entry("interface", interface)?,
        }
        map.end()
    }
}

/// An entry that is left out when it is absent.
fn entry<M: SerializeMap, T: Serialize>(map: &mut M, key: &'static str, value: Option<&T>) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, value),
        None => Ok(()),
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Word;

    fn read(text: &str) -> Result<Call, Error> {
        match read_call(text.as_bytes(), Offer { debug: true }) {
            Ok(asked) => Ok(asked.call),
            Err(Unreadable::Refused { error, .. }) => Err(error),
            Err(Unreadable::NotACall) => panic!("not a call: {text}"),
        }
    }

    fn control(method: &str, parameters: &str) -> Result<Call, Error> {
        read(&format!(r#"{{"method":"io.verger.Control.{method}","parameters":{parameters}}}"#))
    }

    #[track_caller]
    fn invalid(method: &str, parameters: &str, field: &str, expected: &str) {
        match control(method, parameters) {
            Err(Error::Invalid { field: found, expected: words }) => {
                assert_eq!(found, field, "{parameters}");
                assert!(words.contains(expected), "{words}");
            }
            other => panic!("{parameters}: {other:?}"),
        }
    }

    #[test]
    fn a_flaw_names_its_field() {
        invalid("Start", "{}", "name", "a name");
        invalid("Start", r#"{"name":null}"#, "name", "a name");
        invalid("Start", r#"{"name":7}"#, "name", "a name");
        invalid("Start", r#"{"name":""}"#, "name", "a name");
        invalid("Start", r#"{"name":"a b"}"#, "name", "a name");
        invalid("Start", r#"{"name":"a","timeout_ms":-1}"#, "timeout_ms", "0 or more");
        invalid("Start", r#"{"name":"a","timeout_ms":1.5}"#, "timeout_ms", "whole");
        invalid("Start", r#"{"name":"a","timeout_ms":"1"}"#, "timeout_ms", "whole");
        invalid("Start", r#"{"name":"a","key":""}"#, "key", "64");
        invalid("Start", &format!(r#"{{"name":"a","key":"{}"}}"#, "k".repeat(65)), "key", "64");
        invalid("Start", r#"{"name":"a","nmae":"a"}"#, "nmae", "one of: name, timeout_ms, key");
        invalid("Start", r#"{"name":"a","name":"b"}"#, "name", "once");
        invalid("Describe", r#"{"x":1}"#, "x", "no parameters");
        invalid("List", r#"{"names":"a"}"#, "names", "a list");
        invalid("List", r#"{"names":["a",1]}"#, "names", "a list");
        invalid("List", r#"{"names":["a","b/c"]}"#, "names", "a list");
        invalid("Adopt", r#"{"name":"a"}"#, "pid", "process");
        invalid("Adopt", r#"{"name":"a","pid":0}"#, "pid", "process");
        invalid("Adopt", r#"{"name":"a","pid":-1}"#, "pid", "process");
        invalid("Adopt", r#"{"pid":1}"#, "name", "name");
        invalid("Signal", r#"{"name":"a"}"#, "signal", "TERM");
        invalid("Signal", r#"{"name":"a","signal":15}"#, "signal", "as text");
        invalid("Signal", r#"{"name":"a","signal":"FOO"}"#, "signal", "TERM");
        invalid("Shutdown", r#"{"hasty":1}"#, "hasty", "true or false");
        invalid("Shutdown", r#"{"budget_ms":-1}"#, "budget_ms", A_TIME);
        invalid("Shutdown", r#"{"budget_ms":1.5}"#, "budget_ms", A_TIME);
        invalid("Reexec", r#"{"program":"vergerd"}"#, "program", A_PROGRAM);
        invalid("Reexec", r#"{"program":7}"#, "program", A_PROGRAM);
        invalid("Why", "[]", "parameters", "an object");
        invalid("Why", "\"name\"", "parameters", "an object");
        let long = "x".repeat(5000);
        invalid("Why", &format!(r#"{{"{long}":1}}"#), &long[..80], "one of: name");
    }

    #[test]
    fn what_may_be_absent_may_be_null() {
        assert_eq!(control("List", "null"), Ok(Call::List { names: None }));
        assert_eq!(control("List", r#"{"names":null}"#), Ok(Call::List { names: None }));
        let plain = Call::Shutdown { hasty: false, budget_ms: None };
        assert_eq!(control("Shutdown", r#"{"hasty":null}"#), Ok(plain));
        let within = Call::Shutdown { hasty: false, budget_ms: Some(2000) };
        assert_eq!(control("Shutdown", r#"{"budget_ms":2000}"#), Ok(within));
        assert_eq!(read(r#"{"method":"io.verger.Control.Describe"}"#), Ok(Call::Describe));
        let escaped = r#"{ "n\u0061me" : "\u0061" , "key":null}"#;
        assert_eq!(control("Stop", escaped), Ok(Call::Stop(Order::new("a"))));
    }

    #[test]
    fn what_is_not_offered_is_not_found() {
        let debug = br#"{"method":"io.verger.Debug.Inject","parameters":{"kind":"panic"}}"#;
        let error = Error::InterfaceNotFound { interface: "io.verger.Debug".into() };
        assert_eq!(read_call(debug, Offer::default()), Err(Unreadable::Refused { error, oneway: false }));
        assert!(read_call(debug, Offer { debug: true }).is_ok());
        for (method, error) in [
            ("io.verger.Control.Nope", Error::MethodNotFound { method: "io.verger.Control.Nope".into() }),
            ("io.verger.Control.", Error::MethodNotFound { method: "io.verger.Control.".into() }),
            ("org.varlink.service.Nope", Error::MethodNotFound { method: "org.varlink.service.Nope".into() }),
            ("Describe", Error::InterfaceNotFound { interface: String::new() }),
            ("", Error::InterfaceNotFound { interface: String::new() }),
        ] {
            assert_eq!(read(&format!(r#"{{"method":"{method}"}}"#)), Err(error));
        }
        let upgrade = r#"{"method":"io.verger.Control.Describe","upgrade":true}"#;
        assert_eq!(read(upgrade), Err(Error::MethodNotImplemented { method: "io.verger.Control.Describe".into() }));
        let own = r#"{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":1}}"#;
        assert_eq!(read(own), Err(Error::InvalidParameter { parameter: "interface".into() }));
    }

    #[test]
    fn how_an_answer_is_wanted_is_kept() {
        let text = br#"{"method":"io.verger.Control.Watch","more":true,"parameters":{},"new-in-varlink":[[{}]]}"#;
        let asked = read_call(text, Offer::default()).unwrap();
        assert_eq!(asked, Asked { call: Call::Watch { names: None }, more: true, oneway: false });
        let text = br#"{"method":"io.verger.Control.Start","oneway":true}"#;
        let Err(Unreadable::Refused { oneway: true, .. }) = read_call(text, Offer::default()) else {
            panic!("it wants no answer");
        };
    }

    #[test]
    fn what_is_no_call_is_not_answered() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "{",
            r#"{"method":1}"#,
            r#"{"method":"a"}x"#,
            "\u{feff}{}",
            "GET / HTTP/1.1",
            r#"["io.verger.Control.Describe"]"#,
        ] {
            assert_eq!(read_call(text.as_bytes(), Offer::default()), Err(Unreadable::NotACall), "{text}");
        }
        assert_eq!(read_call(b"{\"method\":\"\xff\"}", Offer::default()), Err(Unreadable::NotACall));
        let twice = br#"{"method":"a.b","method":"a.c"}"#;
        assert_eq!(read_call(twice, Offer::default()), Err(Unreadable::NotACall));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(read_call(deep.as_bytes(), Offer::default()), Err(Unreadable::NotACall));
        let closed = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        for text in [
            format!(r#"{{"method":"io.verger.Control.Describe","parameters":{closed}}}"#),
            format!(r#"{{"method":"io.verger.Control.Describe","parameters":{{"x":{closed}}}}}"#),
            format!(r#"{{"method":"io.verger.Control.Why","parameters":{{"name":{closed}}}}}"#),
            format!(r#"{{"method":"io.verger.Control.List","parameters":{{"names":{closed}}}}}"#),
        ] {
            assert!(matches!(read(&text), Err(Error::Invalid { .. })));
        }
    }

    #[test]
    fn names_are_bounded() {
        let names = |count: usize| format!(r#"{{"names":[{}]}}"#, vec!["\"a\""; count].join(","));
        assert!(control("List", &names(NAMES_MAX)).is_ok());
        assert!(control("List", &names(NAMES_MAX + 1)).is_err());
    }

    #[test]
    fn keys_are_numbers_that_are_not_nothing() {
        assert_eq!(key_number(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(key_number("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_ne!(key_number("a"), key_number("b"));
        assert_eq!(Order::new("x").key_number(), 0);
    }

    #[test]
    fn words_of_breakage() {
        assert_eq!(Breakage::from_spoken("panic"), Some(Breakage::Panic));
        let wrong = r#"{"method":"io.verger.Debug.Inject","parameters":{"kind":"fire"}}"#;
        let expected = "one of: fault, panic".to_owned();
        assert_eq!(read(wrong), Err(Error::Invalid { field: "kind".into(), expected }));
    }
}
