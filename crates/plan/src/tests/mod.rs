//! Stories told to the reader as a whole.

mod bundles;
mod complaints;
mod conditions;
mod defaults;
mod grammar;
mod instances;
mod landing;
pub(crate) mod memory;
mod noise;
mod oci;
mod parts;
mod ranges;
mod recovery;

use verger_engine::image::{Plan, Service};

use crate::{Complaint, NoFiles, Reading, read_bytes};

/// Reads a text under the name its content suggests.
fn reading(text: &str) -> Reading {
    let name = if text.trim_start().starts_with(['{', '/']) { "x.json" } else { "x.toml" };
    read_bytes(name, text.as_bytes(), &NoFiles)
}

/// The plan in a text that nobody complains of.
#[track_caller]
fn plan(text: &str) -> Plan {
    let reading = reading(text);
    assert_eq!(said(&reading), [] as [String; 0], "{text}");
    reading.plan.unwrap()
}

/// The first service of such a plan.
#[track_caller]
fn service(text: &str) -> Service {
    plan(text).services.remove(0)
}

/// A service `x` with these further lines.
#[track_caller]
fn with(lines: &str) -> Service {
    service(&format!("[service.x]\ncommand = \"x\"\n{lines}\n"))
}

fn said(reading: &Reading) -> Vec<String> {
    reading.complaints.iter().map(Complaint::to_string).collect()
}

/// Checks what is said of a text, to the letter; each complaint begins with its place.
#[track_caller]
fn check(text: &str, complaints: &[&str]) {
    let reading = reading(text);
    assert_eq!(said(&reading), complaints, "{text}");
    let errors = complaints.iter().any(|complaint| !complaint.contains(": warning: "));
    assert_eq!(reading.plan.is_none(), errors, "{text}");
}

/// Checks what is said of a service `x` with one further line: places are in line 3.
#[track_caller]
fn check_line(line: &str, complaints: &[&str]) {
    check(&format!("[service.x]\ncommand = \"x\"\n{line}\n"), complaints);
}
