//! From text to image, as `verger` does it.

use verger_plan::{Files, NoFiles, Reading, compile, read_bytes};

/// Compiles a plan in verger's own format.
pub fn toml(text: &str) -> Vec<u8> {
    compiled(&read_bytes("plan.toml", text.as_bytes(), &NoFiles))
}

/// Compiles an AOS configuration.
pub fn aos(text: &str, files: &dyn Files) -> Vec<u8> {
    compiled(&read_bytes("aos_config.json", text.as_bytes(), files))
}

/// The image of what was read; it must be without errors.
pub fn compiled(reading: &Reading) -> Vec<u8> {
    let Some(plan) = &reading.plan else { panic!("the plan is refused: {:#?}", reading.complaints) };
    compile(plan).unwrap_or_else(|why| panic!("the plan cannot be compiled: {why:?}"))
}
