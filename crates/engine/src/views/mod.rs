//! Other systems' words for the same facts. Each view is a function of a status; none is stored anywhere.

pub mod aos;
