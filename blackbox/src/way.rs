//! How the daemon makes processes.

/// The ways that the suite is run for: `VERGER_BLACKBOX_WAY` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it does by itself.
    Clone3,
    /// Told not to use `clone3(2)`.
    Fork,
    /// The kernel refuses `clone3(2)`, as some containers' filters do.
    NoClone3,
}

impl Way {
    /// The way of this run of the suite.
    pub fn here() -> Way {
        match std::env::var("VERGER_BLACKBOX_WAY").as_deref() {
            Err(_) | Ok("" | "clone3") => Way::Clone3,
            Ok("fork") => Way::Fork,
            Ok("no-clone3") => Way::NoClone3,
            Ok(other) => panic!("VERGER_BLACKBOX_WAY is {other}; it can be clone3, fork or no-clone3"),
        }
    }

    /// The word that a daemon has for how it makes processes.
    pub fn spoken(self) -> &'static str {
        match self {
            Way::Clone3 => "clone3",
            Way::Fork | Way::NoClone3 => "fork",
        }
    }
}
