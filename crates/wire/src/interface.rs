//! The interfaces by name and text. The texts are the one source: introspection hands them out as they are, and tests
//! hold the Rust types against them.

/// The interface that controls and watches a daemon.
pub const CONTROL: &str = "io.verger.Control";
/// Its text.
pub const CONTROL_TEXT: &str = include_str!("../io.verger.Control.varlink");

/// The interface that breaks a daemon on purpose; offered only by one that was told to.
pub const DEBUG: &str = "io.verger.Debug";
/// Its text.
pub const DEBUG_TEXT: &str = include_str!("../io.verger.Debug.varlink");

/// The interface that every varlink service has.
pub const SERVICE: &str = "org.varlink.service";
/// Its text.
pub const SERVICE_TEXT: &str = include_str!("../org.varlink.service.varlink");

/// What a daemon offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offer {
    /// Whether it was told to offer [`DEBUG`].
    pub debug: bool,
}

impl Offer {
    /// The names of the offered interfaces.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let debug = self.debug.then_some(DEBUG);
        [SERVICE, CONTROL].into_iter().chain(debug)
    }

    /// The text of an offered interface.
    pub fn text(self, name: &str) -> Option<&'static str> {
        match name {
            SERVICE => Some(SERVICE_TEXT),
            CONTROL => Some(CONTROL_TEXT),
            DEBUG if self.debug => Some(DEBUG_TEXT),
            _ => None,
        }
    }
}
