//! `verger`: every verb a person types, and the words in which things are told.
//!
//! The verbs are one table ([`verbs`]), each in a file of its own. What they share is what they are about: [`reach`] finds the
//! daemon, [`seen`] reads its board, [`aftermath`] what a dead one left, [`plans`] reads plans, [`launch`] starts daemons, [`words`] has every phrase once,
//! [`terminal`] knows where words go. Under the name `starter_cmd` it is another tool altogether ([`starter_cmd`]).
//!
//! *What always holds:* it has no door that other clients have not; standard output is data and standard error is words; a
//! trouble ends in one place, as a sentence with a hint and an exit status.

#![forbid(unsafe_code)]

mod aftermath;
mod awaited;
mod chart;
mod complaints;
mod drawing;
mod end_check;
mod hindrance;
mod launch;
mod names;
mod plans;
mod reach;
mod seen;
mod sequence;
mod setting;
mod starter_cmd;
mod table;
mod tape;
mod terminal;
mod trouble;
mod unmet;
mod verbs;
mod waiting;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let called = words.first().map_or_else(Default::default, |word| word.to_string_lossy().into_owned());
    let status = match starter_cmd::is_called(&called) {
        true => starter_cmd::carry_out(&words),
        false => verbs::carry_out(words),
    };
    ExitCode::from(status)
}
