//! The part that looks at the text and not at what it does: format, lints, house rules, documentation, and whether
//! the other processor architecture would compile.

use crate::report::Tally;
use crate::test::Context;
use crate::workspace::Workspace;
use crate::{Trouble, call, ship, tidy};

/// The architecture that this machine is not; musl, because checking needs no linker and no C library then.
const OTHER: &str =
    if cfg!(target_arch = "aarch64") { "x86_64-unknown-linux-musl" } else { "aarch64-unknown-linux-musl" };

pub(crate) fn house(context: &Context) -> Result<Tally, Trouble> {
    let workspace = &context.workspace;
    let mut tally = Tally::default();
    tally.note("format", cargo(workspace, &["fmt", "--all", "--check"], None));
    let lints = ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    tally.note("clippy", cargo(workspace, &lints, None));
    let docs = ["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--quiet"];
    tally.note(
        "documentation",
        cargo(workspace, &docs, Some(("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links"))),
    );
    if ship::has_target(OTHER) || ship::can_add_target(OTHER) {
        let check = ["check", "--locked", "--workspace", "--quiet", "--target", OTHER];
        tally.note(&format!("type-check for {OTHER}"), cargo(workspace, &check, None));
    } else {
        println!("not checked: the target {OTHER} is not to be had here");
    }
    tally.add(tidy::check(workspace)?);
    Ok(tally)
}

fn cargo(workspace: &Workspace, words: &[&str], variable: Option<(&str, &str)>) -> Result<(), String> {
    let mut cargo = workspace.cargo();
    cargo.args(words).envs(variable);
    match call::show(&mut cargo) {
        Ok(()) => Ok(()),
        Err(Trouble::Failed(why) | Trouble::Usage(why)) => Err(why),
    }
}
