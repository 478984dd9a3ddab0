//! How the daemon of an instance is reached, and what is said when it is not.

use std::time::Duration;

use verger_client::{Absence, Address, AddressError, ClientError, Connection, Surroundings};
use verger_engine::life::Verb;

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
    let opened = match Connection::inherited() {
        Ok(Some(inherited)) => Ok(inherited),
        Ok(None) | Err(_) => Connection::open(&address(setting)?),
    };
    let mut connection = opened.map_err(|error| trouble(setting, None, &error))?;
    connection.set_patience(Some(PATIENCE));
    Ok(connection)
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
            Trouble::new(format!("{} may not be connected to", path.display())).hint("try `sudo`")
        }
        ClientError::Remote(error) => words::refusal(verb, error),
        ClientError::TimedOut { after } => Trouble::new(format!(
            "the daemon of instance `{instance}` has not answered for {}s",
            after.as_secs().max(1)
        ))
        .hint("`verger status` works without it, and tells whether it hangs"),
        ClientError::Closed => Trouble::new(format!("the daemon of instance `{instance}` has closed the connection"))
            .hint("`verger status` tells whether it has ended"),
        ClientError::Unknown { .. } | ClientError::Protocol { .. } | ClientError::Io { .. } => {
            Trouble::new(error.to_string())
        }
    }
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
