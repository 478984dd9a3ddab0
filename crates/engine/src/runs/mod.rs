//! Runs: the mechanism below. (Under construction; see `facts`.)
mod facts;
pub use facts::*;
