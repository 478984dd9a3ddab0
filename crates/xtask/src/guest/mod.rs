//! `guest`: what can only be tried as the first process of a real kernel, in an emulated machine.
//!
//! [`machine`] runs one, [`cpio`] packs its files, [`kernel`] fetches what it boots. This file has the scenarios: the
//! files to put into it and what must be true of what comes out.

mod cpio;
mod kernel;
mod machine;

use crate::needs::Need;
use crate::report::{Tally, spell};
use crate::test::Context;
use crate::workspace::Workspace;
use crate::{Trouble, failed, needs, ship};
use machine::{Console, EMULATOR, End, Guest, GuestFile, Source};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Some thirty times what a scenario takes on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

struct Scenario {
    name: &'static str,
    /// What is in the machine, given where our programs for it lie.
    files: fn(&Path) -> Vec<GuestFile>,
    claims: &'static [Claim],
}

/// Something to be seen of a machine.
struct Claim {
    what: &'static str,
    holds: fn(&Console) -> bool,
}

const SCENARIOS: &[Scenario] = &[Scenario {
    name: "boots",
    files: |programs| vec![GuestFile { path: "/init", from: Source::Host(programs.join("guest-init")), mode: 0o755 }],
    claims: &[
        Claim { what: "our program is process 1", holds: |it| it.after("guest-init: pid ") == Some("1") },
        Claim {
            what: "cgroups have the memory and pids controllers",
            holds: |it| {
                let controllers = it.after("guest-init: controllers ").unwrap_or_default();
                ["memory", "pids"].iter().all(|wanted| controllers.split(' ').any(|it| it == *wanted))
            },
        },
        Claim { what: "it powers off", holds: |it| it.end == End::PoweredOff },
    ],
}];

/// `cargo xtask guest`.
pub(crate) fn guest(words: Vec<OsString>) -> Result<(), Trouble> {
    let mut scenarios = Vec::new();
    for word in &words {
        let names = || SCENARIOS.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
        let known = SCENARIOS.iter().find(|it| word == it.name);
        scenarios
            .push(known.ok_or_else(|| Trouble::Usage(format!("`{}` is no scenario: {}", word.display(), names())))?);
    }
    if scenarios.is_empty() {
        scenarios.extend(SCENARIOS);
    }
    let tally = run(&Workspace::find()?, &scenarios)?;
    if tally.failed == 0 { Ok(()) } else { Err(failed("the machine did not do what it should")) }
}

/// All scenarios, as a part of the tests.
pub(crate) fn part(context: &Context) -> Result<Tally, Trouble> {
    run(&context.workspace, &SCENARIOS.iter().collect::<Vec<_>>())
}

fn run(workspace: &Workspace, scenarios: &[&Scenario]) -> Result<Tally, Trouble> {
    if !cfg!(target_arch = "x86_64") {
        return Err(failed("the emulated machine is an x86_64 one, and runs programs built on such a host only"));
    }
    needs::programs(&[Need { program: EMULATOR, package: "qemu-system-x86" }])?;
    let kernel = kernel::get(workspace, kernel::MAIN)?;
    let programs = ship::build(workspace, &ship::GUEST)?;
    let mut tally = Tally::default();
    for scenario in scenarios {
        let console = boot(scenario, &kernel, &programs)?;
        for claim in scenario.claims {
            let outcome = if (claim.holds)(&console) { Ok(()) } else { Err(format!("{:?}", console.end)) };
            tally.note(&format!("guest {}: {}", scenario.name, claim.what), outcome);
        }
        println!("guest {}: {} from the emulator's start to its end", scenario.name, spell(console.took));
    }
    Ok(tally)
}

fn boot(scenario: &Scenario, kernel: &Path, programs: &Path) -> Result<Console, Trouble> {
    let guest = Guest {
        kernel: PathBuf::from(kernel),
        files: (scenario.files)(programs),
        cmdline: String::new(),
        memory_mib: 256,
        devices: Vec::new(),
        limit: LIMIT,
    };
    guest.run(&mut |line| println!("  | {line}"))
}
