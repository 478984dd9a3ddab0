//! Where an instance's files lie, and the variables in which that is said: the names that daemon and client agree on.
//!
//! The runtime directory is `$VERGER_RUNTIME_DIR` if set; else, for root, `/run/verger`; else `$XDG_RUNTIME_DIR/verger`;
//! else `/tmp/verger-UID`. The instance's own directory lies in it, by the instance's name.

use std::ffi::OsString;
use std::path::PathBuf;

/// The instance that is meant when nobody names one.
pub const DEFAULT_INSTANCE: &str = "default";

/// The variable that names the runtime directory.
pub const RUNTIME_DIR_VARIABLE: &str = "VERGER_RUNTIME_DIR";
/// The variable of the user's runtime directory, by the XDG Base Directory Specification.
pub const XDG_RUNTIME_DIR_VARIABLE: &str = "XDG_RUNTIME_DIR";
/// Root's runtime directory.
pub const ROOT_RUNTIME_DIR: &str = "/run/verger";
/// verger's directory inside the user's runtime directory.
pub const USER_RUNTIME_NAME: &str = "verger";
/// What the runtime directory of a user without one begins with; the uid follows.
pub const TMP_RUNTIME_PREFIX: &str = "/tmp/verger-";

/// The control socket, in the instance's directory.
pub const CONTROL_SOCKET: &str = "control";
/// The status page, in the instance's directory.
pub const BOARD_FILE: &str = "board";
/// Where a keeper hands over to the next daemon, in the instance's directory.
pub const HANDOVER_SOCKET: &str = "handover";
/// The named pipe that every shim of the instance has an end of, in the instance's directory.
pub const TIE_PIPE: &str = "shims";
/// The file that a daemon locks to be the only one of its instance.
pub const LOCK_FILE: &str = "lock";

/// The variable that tells a service the number of its inherited control connection.
pub const CONTROL_VARIABLE: &str = "VERGER_CONTROL";

/// The recording of the daemon's life, in the instance's directory.
pub const RECORDING_FILE: &str = "recording";
/// A copy of the compiled plan, in the instance's directory: what a recording is read with.
pub const PLAN_FILE: &str = "plan";
/// A copy of the compiled plan that is on trial, if there is one, in the instance's directory.
pub const TRIAL_FILE: &str = "plan.trial";
/// The folder of notify sockets, in the instance's directory.
pub const NOTIFY_FOLDER: &str = "notify";

/// The folder of what `crun` knows of the containers of services, in the instance's directory; a short name, since sockets lie below it.
pub const BUNDLES_FOLDER: &str = "oci";
/// The variable that names it to what runs a bundle.
pub const BUNDLES_VARIABLE: &str = "VERGER_BUNDLES";

/// The runtime directory of a user, from the variables that may say otherwise (`variable` looks one up). The second value
/// says whether it lies where everybody may make directories, so that its owner has to be looked at.
pub fn runtime_dir(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> (PathBuf, bool) {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(path) = set(RUNTIME_DIR_VARIABLE) {
        return (path.into(), false);
    }
    if uid == 0 {
        return (ROOT_RUNTIME_DIR.into(), false);
    }
    // The specification says that a relative path is to be ignored.
    match set(XDG_RUNTIME_DIR_VARIABLE).map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => (path.join(USER_RUNTIME_NAME), false),
        None => (format!("{TMP_RUNTIME_PREFIX}{uid}").into(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_is_where_the_first_page_says() {
        let dir = |uid, set: &[(&str, &str)]| {
            let look = |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).into());
            runtime_dir(uid, look)
        };
        let own = (RUNTIME_DIR_VARIABLE, "/x");
        let xdg = (XDG_RUNTIME_DIR_VARIABLE, "/run/user/7");
        assert_eq!(dir(0, &[own, xdg]), ("/x".into(), false));
        assert_eq!(dir(0, &[xdg]), ("/run/verger".into(), false));
        assert_eq!(dir(7, &[xdg]), ("/run/user/7/verger".into(), false));
        assert_eq!(dir(7, &[(RUNTIME_DIR_VARIABLE, "")]), ("/tmp/verger-7".into(), true));
        assert_eq!(dir(7, &[(XDG_RUNTIME_DIR_VARIABLE, "run")]), ("/tmp/verger-7".into(), true));
    }
}
