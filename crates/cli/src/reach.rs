//! How the daemon of an instance is reached, and what is said when it is not.

use std::time::Duration;

use verger_client::{Absence, Address, AddressError, ClientError, Connection, Surroundings};
use verger_engine::life::Verb;
use verger_wire::place;

use crate::aftermath;
use crate::setting::Setting;
use crate::trouble::{Trouble, cannot};
use crate::words;

/// A daemon that has not answered a question after so long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Where the daemon of the instance is found.
pub(crate) fn address(setting: &Setting) -> Result<Address, Trouble> {
    Address::find(&setting.instance).map_err(|error| bad_address(&error))
}

/// A connection to the daemon of the instance, for questions. A service that was given one (`control = …` in its plan) uses that:
/// it is a right that its user may not have at the socket. Where it cannot be had any more, whoever passed the variable on did
/// not pass the descriptor.
pub(crate) fn connect(setting: &Setting) -> Result<Connection, Trouble> {
    let inherited = Connection::inherited();
    let not_had = inherited.is_err();
    let opened = match inherited {
        Ok(Some(inherited)) => Ok(inherited),
        Ok(None) | Err(_) => Connection::open(&address(setting)?),
    };
    let mut connection = opened.map_err(|error| {
        let trouble = trouble(setting, None, &error);
        if not_had { trouble.hint(not_passed_on()) } else { trouble }
    })?;
    connection.set_patience(Some(PATIENCE));
    Ok(connection)
}

/// What to do where the connection that a service was given did not come with its variable.
fn not_passed_on() -> String {
    let (name, number) = (place::CONTROL_VARIABLE, std::env::var(place::CONTROL_VARIABLE).unwrap_or_default());
    format!(
        "{name} is `{number}`, and that descriptor is closed here or no socket: whoever ran this must pass it on \
         (`pass_fds` of Python's subprocess)"
    )
}

/// What went wrong between us and the daemon, or what it answered (to a verb, if it was one).
pub(crate) fn trouble(setting: &Setting, verb: Option<Verb>, error: &ClientError) -> Trouble {
    let instance = &setting.instance;
    match error {
        ClientError::Address(error) => bad_address(error),
        ClientError::NotThere { why: Absence::NoInstance, .. } => nobody(setting),
        ClientError::NotThere { why: Absence::NobodyListens, .. } => {
            Trouble::new(format!("the daemon of instance `{instance}` died"))
                .hint("`verger status` shows what it last knew, `verger record FILE` keeps how it came to that")
                .hints(aftermath::of_instance(setting).and_then(|left| left.how_to_end()))
        }
        ClientError::NotThere { path, why: Absence::Forbidden } => {
            Trouble::new(format!("{} may not be connected to", path.display()))
                .hint("try `sudo`")
                .hint(words::RIGHT_OF_A_SERVICE)
        }
        ClientError::Remote(error) => words::refusal(verb, error),
        ClientError::TimedOut { after } => Trouble::new(format!(
            "the daemon of instance `{instance}` has not answered for {}s",
            after.as_secs().max(1)
        ))
        .hint("`verger status` works without it, and tells whether it hangs"),
        ClientError::Closed => closed(setting),
        ClientError::Unknown { .. } | ClientError::Protocol { .. } | ClientError::Io { .. } => {
            Trouble::new(error.to_string())
        }
    }
}

/// How a daemon came to execute itself anew, in the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anew {
    /// Somebody asked for it (`verger reexec`).
    InOrder,
    /// It broke, and takes up its services again.
    Broken,
}

impl Anew {
    /// By its command line; `None` for one that is what it was at its start, or is not to be seen.
    pub(crate) fn of(daemon: u32) -> Option<Anew> {
        let line = std::fs::read(format!("/proc/{daemon}/cmdline")).ok()?;
        Anew::of_words(line.split(|byte| *byte == 0))
    }

    fn of_words<'w>(mut words: impl Iterator<Item = &'w [u8]>) -> Option<Anew> {
        words.find(|word| *word == b"--resume")?;
        Some(if words.any(|word| word == b"--in-order") { Anew::InOrder } else { Anew::Broken })
    }
}

/// It has closed the connection before it answered: it has ended, or executes itself anew.
fn closed(setting: &Setting) -> Trouble {
    let anew = address(setting).ok().and_then(|address| {
        let mut connection = Connection::open(&address).ok()?;
        connection.set_patience(Some(PATIENCE));
        Anew::of(connection.describe().ok()?.pid)
    });
    let (what, hint) = match anew {
        None => {
            let words = format!("the daemon of instance `{}` has closed the connection", setting.instance);
            return Trouble::new(words).hint("`verger status` tells whether it has ended");
        }
        Some(Anew::InOrder) => (
            "has become another program (`verger reexec`)",
            "the work goes on; `verger status` and `verger targets` show how far it is",
        ),
        Some(Anew::Broken) => (
            "broke and has come back",
            "`verger status` and `verger targets` show what is so now; a change on trial has been taken back",
        ),
    };
    Trouble::new(format!("the daemon of instance `{}` {what} before it answered", setting.instance)).hint(hint)
}

fn bad_address(error: &AddressError) -> Trouble {
    let trouble = Trouble::new(error.to_string());
    match error {
        AddressError::BadName { .. } => trouble.with_status(crate::trouble::USAGE),
        AddressError::NotOurs { .. } => trouble.hint("set VERGER_RUNTIME_DIR to a folder of yours"),
        AddressError::Io { .. } => trouble,
    }
}

/// There is no daemon of this instance; there may be others.
pub(crate) fn nobody(setting: &Setting) -> Trouble {
    let trouble = Trouble::new(format!("no daemon of instance `{}` is running", setting.instance));
    match &others(&setting.instance)[..] {
        [] => trouble.hint("`verger up FILE` starts one"),
        others => trouble.hint(format!("there are others, for `--instance`: {}", others.join(", "))),
    }
}

/// Other instances that have a socket here.
fn others(instance: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(Surroundings::here().runtime_dir()) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let living = |name: &String| Address::find(name).is_ok_and(|address| address.control().exists());
    let mut names: Vec<String> = names.filter(|name| name != instance).filter(living).collect();
    names.sort();
    names
}

/// The file of an instance with this name, in words of ours when it is not there.
pub(crate) fn file(setting: &Setting, name: &str) -> Result<Vec<u8>, Trouble> {
    let path = address(setting)?.directory().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let left = format!("instance `{}` has left no {name} here", setting.instance);
            Err(Trouble::new(left)
                .detail(format!("{} does not exist", path.display()))
                .hint("a daemon that has ended in order takes it along; one that runs, or was killed, leaves it there"))
        }
        Err(error) => Err(cannot(&format!("read {}", path.display()))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_executed_itself_anew_is_told_by_its_command_line() {
        for (line, anew) in [
            ("vergerd|--plan|--resume-later", None),
            ("vergerd|--resume|--instance|default", Some(Anew::Broken)),
            ("vergerd|--resume|--instance|default|--image-fd|7|--in-order", Some(Anew::InOrder)),
            ("vergerd|--in-order", None),
        ] {
            assert_eq!(Anew::of_words(line.split('|').map(str::as_bytes)), anew, "{line}");
        }
    }
}
