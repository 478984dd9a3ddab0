//! Where an instance's files lie, and the variables in which that is said: the names that daemon and client agree on.
//!
//! The runtime directory is `$VERGER_RUNTIME_DIR` if set; else, for root, `/run/verger`; else `$XDG_RUNTIME_DIR/verger`;
//! else `/tmp/verger-UID`. The instance's own directory lies in it, by the instance's name.

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
/// The file that a daemon locks to be the only one of its instance.
pub const LOCK_FILE: &str = "lock";

/// The variable that tells a service the number of its inherited control connection.
pub const CONTROL_VARIABLE: &str = "VERGER_CONTROL";
