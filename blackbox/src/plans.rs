//! From text to image, as `verger` does it.

use verger_plan::{Files, NoFiles, Reading, compile, read_bytes};

/// A service that is ready when it can be asked to end, notes its name in `@@/order` when it is, and ends.
pub fn noting(name: &str, more: &str) -> String {
    format!(
        "[service.{name}]
         command = ['sh', '-c', 'trap \"echo {name} >> @@/order; exit 0\" TERM; echo >&3; sleep 1000 & wait']
         ready = 'fd'
         {more}\n"
    )
}

/// Compiles a plan in verger's own format.
pub fn toml(text: &str) -> Vec<u8> {
    compiled(&read_bytes("plan.toml", text.as_bytes(), &NoFiles))
}

/// Compiles a configuration of S-CORE's Launch Manager, of either kind.
pub(crate) fn score(text: &str) -> Vec<u8> {
    compiled(&read_bytes("score.json", text.as_bytes(), &NoFiles))
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
