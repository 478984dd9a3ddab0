//! How the daemon makes processes, and what it holds them by.

/// The ways that the suite is run for: `VERGER_BLACKBOX_WAY` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it does by itself.
    Clone3,
    /// Told not to use `clone3(2)`.
    Fork,
    /// The kernel refuses `clone3(2)`, as some containers' filters do.
    NoClone3,
    /// As by itself, but told to hold services by shims.
    Shim,
}

impl Way {
    /// The way of this run of the suite.
    pub fn here() -> Way {
        match std::env::var("VERGER_BLACKBOX_WAY").as_deref() {
            Err(_) | Ok("" | "clone3") => Way::Clone3,
            Ok("fork") => Way::Fork,
            Ok("no-clone3") => Way::NoClone3,
            Ok("shim") => Way::Shim,
            Ok(other) => panic!("VERGER_BLACKBOX_WAY is {other}; it can be clone3, fork, no-clone3 or shim"),
        }
    }

    /// The word that a daemon has for how it makes processes.
    pub fn spoken(self) -> &'static str {
        match self {
            Way::Clone3 | Way::Shim => "clone3",
            Way::Fork | Way::NoClone3 => "fork",
        }
    }
}
