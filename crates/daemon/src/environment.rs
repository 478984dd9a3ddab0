//! What the daemon inherited and passes on: its environment as it was at the start, less what was meant for itself alone.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// Variables that are about the daemon and its maker, or that the daemon sets anew for each service.
const NOT_PASSED_ON: [&str; 12] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "VERGER_CONTAINMENT",
    "VERGER_SPAWN",
    "VERGER_CONTROL",
    "VERGER_RUNTIME_DIR",
    verger_wire::place::BUNDLES_VARIABLE,
    crate::budget::VARIABLE,
];

/// The inherited environment, read once.
#[derive(Debug)]
pub(crate) struct Environment {
    variables: Vec<CString>,
}

impl Environment {
    /// The present process's.
    pub(crate) fn inherited() -> Environment {
        Environment::of(std::env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Environment {
        let kept = variables.filter(|(name, _)| !NOT_PASSED_ON.iter().any(|other| name.as_ref() == *other));
        let texts = kept.filter_map(|(name, value)| {
            CString::new([name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()].concat()).ok()
        });
        Environment { variables: texts.collect() }
    }

    /// Each as `NAME=VALUE`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CString> {
        self.variables.iter()
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables.iter().find_map(|text| value_of(text.as_bytes(), name))
    }
}

/// The value, if a text is `NAME=VALUE` with this name.
pub(crate) fn value_of<'t>(text: &'t [u8], name: &str) -> Option<&'t [u8]> {
    text.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The part of `NAME=VALUE` before and with the `=`.
pub(crate) fn name_part(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'=').map_or(text.len(), |at| at + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_the_daemon_stays_with_it() {
        let inherited = [("PATH", "/bin"), ("NOTIFY_SOCKET", "/x"), ("A", "b=c"), ("LISTEN_FDS", "3")];
        let environment = Environment::of(inherited.into_iter());
        let texts: Vec<&[u8]> = environment.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(texts, [b"PATH=/bin".as_slice(), b"A=b=c"]);
        assert_eq!(environment.get("A"), Some(b"b=c".as_slice()));
        assert_eq!(environment.get("NOTIFY_SOCKET"), None);
        assert_eq!(name_part(b"A=b=c"), b"A=");
    }
}
